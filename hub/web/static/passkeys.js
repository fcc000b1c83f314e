// Forms with data-passkey: fetches what the hub asks of a passkey, lets the browser ask its owner, and sends the answer as a field.
"use strict";

const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const withIds = (list) => (list || []).map((one) => ({ ...one, id: bytes(one.id) }));

// WebAuthn Level 3 §5.1.8-10; by hand for browsers that came before it.
const creation = (o) =>
  PublicKeyCredential.parseCreationOptionsFromJSON
    ? PublicKeyCredential.parseCreationOptionsFromJSON(o)
    : { ...o, challenge: bytes(o.challenge), user: { ...o.user, id: bytes(o.user.id) }, excludeCredentials: withIds(o.excludeCredentials) };
const request = (o) =>
  PublicKeyCredential.parseRequestOptionsFromJSON
    ? PublicKeyCredential.parseRequestOptionsFromJSON(o)
    : { ...o, challenge: bytes(o.challenge), allowCredentials: withIds(o.allowCredentials) };

function asJson(made) {
  if (made.toJSON) return JSON.stringify(made);
  const response = {};
  for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (made.response[name]) response[name] = text(made.response[name]);
  }
  if (made.response.getTransports) response.transports = made.response.getTransports();
  return JSON.stringify({ id: made.id, rawId: text(made.rawId), type: made.type, clientExtensionResults: {}, response });
}

// By the kind of error that browsers raise; they tell no more, so that a site can't learn which passkeys a device has.
const TROUBLE = {
  NotAllowedError: "No passkey was used: it was cancelled, took too long, or this device has none for this hub. Try again, or use another way.",
  InvalidStateError: "This device has a passkey for you already: sign in with that one, or use another device.",
  SecurityError: "The browser allows no passkey at this address: open the hub under its own address, over https.",
  NotSupportedError: "This device can’t make the kind of passkey that the hub needs: one that checks a PIN, a fingerprint or a face.",
  ConstraintError: "This device can’t check a PIN, a fingerprint or a face: set up its screen lock, or use another device.",
};

class Told extends Error {}

async function options(form) {
  const token = form.elements.namedItem("csrf");
  const answer = await fetch(`${form.action}/options`, {
    method: "POST",
    headers: { Accept: "application/json", "Content-Type": "application/json", ...(token && { "X-CSRF-Token": token.value }) },
    body: "{}",
  }).catch(() => {
    throw new Told("The hub can’t be reached. Check your connection, and try again.");
  });
  if (answer.redirected) return location.assign(answer.url); // the session has ended meanwhile
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Told(found.detail || "The hub can’t answer just now. Try again shortly.");
  return found;
}

async function ask(form) {
  if (!window.PublicKeyCredential) throw new Told("This browser can’t use passkeys: use a newer one, and open the hub over https.");
  const publicKey = await options(form);
  if (!publicKey) return;
  const { credentials } = navigator;
  const made = form.dataset.passkey === "create" ? await credentials.create({ publicKey: creation(publicKey) }) : await credentials.get({ publicKey: request(publicKey) });
  form.elements.namedItem("credential").value = asJson(made);
  form.submit();
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  const button = form.querySelector("button");
  const progress = form.querySelector("[data-progress]");
  const trouble = form.querySelector("[data-trouble]");
  const show = (busy, told) => {
    button.disabled = busy;
    progress.textContent = busy ? "Your device asks you now …" : "";
    trouble.hidden = !told;
    trouble.firstElementChild.textContent = told || "";
  };
  if (location.origin !== form.dataset.origin) {
    form.hidden = true;
    form.nextElementSibling.hidden = false;
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    show(true);
    ask(form).catch((error) => {
      show(false, error instanceof Told ? error.message : TROUBLE[error.name] || "The browser could not use a passkey. Try again, or use another way.");
      button.focus();
    });
  });
  show(false);
  addEventListener("pageshow", () => show(false)); // somebody came back by the back button
}
