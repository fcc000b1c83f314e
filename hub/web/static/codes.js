// Recovery codes: saved as a file, copied, or printed. Nothing of this goes anywhere.
"use strict";

const codes = [...document.querySelectorAll("[data-codes] code")].map((one) => one.textContent);
const handle = document.querySelector("[data-handle]").textContent;
const sheet = `Concord recovery codes for ${handle}\n${location.origin}/recover\nEach code is good once.\n\n${codes.join("\n")}\n`;
const told = document.querySelector("[data-told]");
document.querySelector("[data-keep]").hidden = false;

document.querySelector("[data-save]").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([sheet], { type: "text/plain" }));
  link.download = "concord-recovery-codes.txt";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  told.textContent = "Saved where your downloads go.";
});

document.querySelector("[data-copy]").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(sheet);
    told.textContent = "Copied.";
  } catch {
    told.textContent = "The browser does not let the page copy: select the codes instead.";
  }
});

document.querySelector("[data-print]").addEventListener("click", () => print());
