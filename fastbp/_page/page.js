// Steps through the pages of a document that it has not begun with yet. Everything to be shown is
// in the page; this only says what is visible. Without it, the page shows everything.
(() => {
  "use strict";
  const PAUSE = 1300; // milliseconds between two steps of Play
  const LONG = 120; // characters of a step; of longer ones, only the title is announced

  for (const root of document.querySelectorAll(".fastbp-page:not([data-ready])")) begin(root);

  function begin(root) {
    root.dataset.ready = "";
    const all = (selector) => [...root.querySelectorAll(selector)];
    const one = (selector) => root.querySelector(selector);
    const boxes = all(".box"), wires = all(".wire"), steps = all(".journal li");
    const appearing = all("[data-at]");
    const button = Object.fromEntries(all("button").map((each) => [each.dataset.do, each]));
    const forward = Number(root.dataset.forward), last = steps.length;
    const calm = matchMedia("(prefers-reduced-motion: reduce)");
    let step = null; // null: everything is shown, and a walk may begin at either end
    let timer = null, pinned = null;

    // ---- steps ----
    function show(next) {
      step = next;
      const shown = step === null ? last : step;
      for (const each of appearing) each.classList.toggle("later", each.dataset.at > shown);
      const current = step ? steps[step - 1] : null;
      steps.forEach((each) => each.classList.toggle("now", each === current));
      const now = current ? current.dataset.boxes.split(" ") : [];
      const back = current !== null && step > forward;
      boxes.forEach((each) => each.classList.toggle("now", now.includes(each.dataset.box)));
      for (const each of wires) {
        const { start, end } = each.dataset;
        each.classList.toggle("now", now.includes(back ? start : end));
        each.classList.toggle("back", back);
      }
      one(".status").textContent = told(current, back);
      button.forward.disabled = step !== null && step >= forward;
      button.backward.disabled = step === last || forward === last;
      button.undo.disabled = !step;
      button.reset.disabled = step === 0;
      button.all.disabled = step === null;
      if (current) reveal(current, boxes[now[0]]);
    }

    function told(current, back) {
      if (step === null) return "Every step is shown.";
      if (current === null) return "Before the first step: only the inputs are known.";
      const [walk, number, of] = back
        ? ["Backward", step - forward, last - forward] : ["Forward", step, forward];
      const lines = [...current.children].map((each) => each.textContent);
      const text = lines.join(" ");
      return `${walk} step ${number} of ${of}: ${text.length > LONG ? lines[0] : text}`;
    }

    function reveal(current, box) {
      const list = current.parentElement, scroll = one(".scroll");
      const behavior = calm.matches ? "auto" : "smooth";
      list.scrollTo({ top: current.offsetTop - list.offsetTop - list.clientHeight / 3, behavior });
      if (!box) return;
      const inner = box.getBoundingClientRect(), outer = scroll.getBoundingClientRect();
      if (inner.left < outer.left || inner.right > outer.right) {
        const middle = (inner.left + inner.right - outer.left - outer.right) / 2;
        scroll.scrollTo({ left: scroll.scrollLeft + middle, behavior });
      }
    }

    function pause() {
      clearInterval(timer);
      timer = null;
      button.play.textContent = "Play";
    }

    function play() {
      if (step === null || step === last) show(0);
      button.play.textContent = "Pause";
      timer = setInterval(() => {
        if (!root.isConnected) return pause();
        show(step + 1);
        if (step === last) pause();
      }, PAUSE);
    }

    const actions = {
      forward: () => show(step === null ? 1 : step + 1),
      backward: () => show(step === null ? forward + 1 : Math.max(step, forward) + 1),
      undo: () => show(step - 1),
      reset: () => show(0),
      all: () => show(null),
    };
    for (const [name, each] of Object.entries(button)) {
      each.addEventListener("click", () => {
        const playing = timer !== null;
        pause();
        if (name !== "play") actions[name]();
        else if (!playing) play();
      });
    }

    // ---- the details of a box ----
    function choose(box) {
      const number = box ? box.dataset.box : null;
      boxes.forEach((each) => each.classList.toggle("chosen", each === box));
      for (const each of wires) {
        const { start, end } = each.dataset;
        each.classList.toggle("chosen", box !== null && (start === number || end === number));
      }
      for (const each of all(".details [data-for]")) each.hidden = each.dataset.for !== number;
      one(".hint").hidden = box !== null;
    }

    function pin(box) {
      pinned = pinned === box ? null : box;
      choose(pinned);
    }

    const order = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
    boxes.forEach((box, index) => {
      box.querySelector("title").remove(); // the details say the same, step by step
      box.tabIndex = index ? -1 : 0;
      box.addEventListener("pointerenter", () => choose(box));
      box.addEventListener("pointerleave", () => choose(pinned));
      box.addEventListener("focus", () => {
        boxes.forEach((each) => { each.tabIndex = each === box ? 0 : -1; });
        choose(box);
      });
      box.addEventListener("blur", () => choose(pinned));
      box.addEventListener("click", () => pin(box));
      box.addEventListener("keydown", (event) => {
        if (event.key in order) boxes[index + order[event.key]]?.focus();
        else if (event.key === "Enter" || event.key === " ") pin(box);
        else if (event.key === "Escape") pin(pinned);
        else return;
        event.preventDefault();
      });
    });

    one(".buttons").hidden = false;
    show(null);
  }
})();
