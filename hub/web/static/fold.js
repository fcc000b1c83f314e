// On a narrow screen what can be folded begins folded, so that the page begins with what it is about.

if (window.matchMedia("(max-width: 44rem)").matches) {
  for (const folded of document.querySelectorAll("[data-fold]")) folded.open = false;
}
