// What the theme leaves out for keyboards and screen readers: names of regions, and a way into whatever scrolls.
const mend = () => {
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search");
  for (const one of document.querySelectorAll(".md-typeset__scrollwrap, pre > code")) one.tabIndex = 0;
  for (const [at, one] of document.querySelectorAll(".md-code__nav").entries()) one.setAttribute("aria-label", `Code block ${at + 1}`);
};
document.addEventListener("DOMContentLoaded", () => {
  mend();
  new MutationObserver(mend).observe(document.body, {childList: true, subtree: true});
});
