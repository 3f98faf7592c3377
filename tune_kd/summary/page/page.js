// One tooltip for all charts, by pointer or by arrow keys; details open for printing.
(() => {
  const tip = document.createElement("div");
  tip.className = "tip"; tip.hidden = true; tip.setAttribute("role", "status");
  document.body.append(tip);
  let current = null;
  const place = (x, y) => {
    const box = tip.getBoundingClientRect(), gap = 14;
    const left = x + gap + box.width > innerWidth - 8 ? x - gap - box.width : x + gap;
    const top = y + gap + box.height > innerHeight - 8 ? y - gap - box.height : y + gap;
    tip.style.transform = `translate(${Math.max(8, left)}px,${Math.max(8, top)}px)`;
  };
  const hide = () => { current?.classList.remove("on"); current = null; tip.hidden = true; };
  const show = (mark, x, y) => {
    if (mark !== current) {
      hide(); current = mark; mark.classList.add("on");
      const [first, ...rest] = mark.dataset.tip.split("\n");
      tip.replaceChildren(Object.assign(document.createElement("b"), {textContent: first}),
        ...rest.filter(Boolean).map(line => Object.assign(document.createElement("span"), {textContent: line})));
      tip.hidden = false;
    }
    place(x, y);
  };
  const middle = mark => {
    const shape = mark.querySelector(".end,.cross,.mean,.trial,.mark,.tile,.bar,.part-full") ?? mark;
    const box = shape.getBoundingClientRect();
    return [box.left + box.width / 2, box.top + box.height / 2];
  };
  const distance = (mark, x, y) => { const at = middle(mark); return Math.hypot(at[0] - x, at[1] - y); };
  const nearest = (target, x, y) => {
    const marks = [...target.closest?.(".plot")?.querySelectorAll("[data-tip]") ?? []];
    const near = marks.map(mark => [distance(mark, x, y), mark]).filter(one => one[0] < 14);
    return near.sort((one, other) => one[0] - other[0])[0]?.[1];
  };
  const point = ({target, clientX, clientY}) => {
    const mark = target.closest?.("[data-tip]") ?? nearest(target, clientX, clientY);
    mark ? show(mark, clientX, clientY) : hide();
  };
  document.addEventListener("pointermove", point);
  document.addEventListener("pointerdown", point);
  document.addEventListener("scroll", hide, {passive: true});
  const steps = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1};
  for (const plot of document.querySelectorAll(".plot[tabindex]")) {
    const marks = [...plot.querySelectorAll("[data-tip]")];
    let at = -1;
    plot.addEventListener("keydown", event => {
      if (event.key === "Escape") return hide();
      if (event.key === "Home") at = 0;
      else if (event.key === "End") at = marks.length - 1;
      else if (event.key in steps) at = (at + steps[event.key] + marks.length) % marks.length;
      else return;
      event.preventDefault();
      show(marks[at], ...middle(marks[at]));
    });
    plot.addEventListener("blur", hide);
  }
  const renew = document.querySelector("[data-renew]")?.dataset.renew;
  if (renew) setTimeout(() => location.reload(), 1000 * renew);
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(one => { one.open = true; }));
  document.documentElement.dataset.ready = "yes";
})();
