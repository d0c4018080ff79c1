// Puts a sign-up form where this script stands: <script src=".../embed/loader.js" data-form="run" async></script>
// Optional: data-lang, data-track, data-ref, data-source.
(function () {
  "use strict";
  var script = document.currentScript;
  if (!script) return;
  var origin = new URL(script.src).origin;
  var given = script.dataset;
  var query = new URLSearchParams();
  var here = new URLSearchParams(location.search);
  ["utm_source", "utm_medium", "utm_campaign", "source", "ref", "lang", "track"].forEach(function (name) {
    var value = here.get(name) || given[name];
    if (value) query.set(name, value);
  });
  query.set("page", location.origin + location.pathname);
  if (document.referrer) query.set("referrer", document.referrer);
  var frame = document.createElement("iframe");
  frame.src = origin + "/embed/" + encodeURIComponent(given.form || "run") + "?" + query;
  frame.title = given.title || "Sign-up form";
  frame.style.cssText = "width:100%;border:0;min-height:40rem";
  addEventListener("message", function (event) {
    if (event.source !== frame.contentWindow || event.origin !== origin) return;
    var height = Number(event.data && event.data.hustingsHeight);
    if (height > 0 && height < 20000) frame.style.height = height + "px";
  });
  script.parentNode.insertBefore(frame, script);
})();
