// Tells the page around how tall this one is; the height is all that it learns.
(function () {
  "use strict";
  if (window.parent === window) return;
  function tell() {
    window.parent.postMessage({ hustingsHeight: document.documentElement.scrollHeight }, "*");
  }
  addEventListener("load", tell);
  if (window.ResizeObserver) new ResizeObserver(tell).observe(document.body);
})();
