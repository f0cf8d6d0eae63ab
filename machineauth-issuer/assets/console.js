// What HTML cannot do: times in the reader's zone, a button that copies, and no polling while nobody looks.
(() => {
  const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  const hour = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });

  const localize = (root) => {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      if (Number.isNaN(at.getTime()) || time.title) continue;
      time.title = time.textContent;
      time.textContent = (time.dataset.as === "hour" ? hour : whole).format(at);
    }
  };

  const copy = async (button) => {
    const what = document.getElementById(button.dataset.copy);
    const label = button.dataset.label ?? button.textContent;
    button.dataset.label = label;
    try {
      await navigator.clipboard.writeText(what.textContent.trim());
      button.textContent = "Copied";
    } catch {
      // A page that is no secure context has no clipboard: what is selected can be copied by hand.
      getSelection().selectAllChildren(what);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = label; }, 2000);
  };

  const prepare = (root) => {
    localize(root);
    for (const button of root.querySelectorAll("button[data-copy][hidden]")) button.hidden = false;
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-copy]");
    if (button) copy(button);
  });
  document.addEventListener("htmx:before:request", (event) => {
    if (document.hidden) event.preventDefault();
  });
  const say = (isAway) => { document.getElementById("away")?.toggleAttribute("hidden", !isAway); };
  document.addEventListener("htmx:response:error", (event) => { say(event.detail.ctx.response.status !== 422); });
  document.addEventListener("htmx:error", () => say(true));
  document.addEventListener("htmx:after:swap", (event) => {
    if (event.detail?.ctx?.response?.status < 400) say(false);
    prepare(document);
  });

  const wide = matchMedia("(min-width: 52.01rem)");
  const unfold = () => { document.querySelector(".menu")?.toggleAttribute("open", wide.matches); };
  wide.addEventListener("change", unfold);

  prepare(document);
  unfold();
})();
