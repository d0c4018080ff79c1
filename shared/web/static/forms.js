// Comfort only: every form works without this file.
(function () {
  "use strict";

  document.querySelectorAll("input[data-intent]").forEach(function (field) {
    if (!field.value && window.crypto && crypto.randomUUID) field.value = crypto.randomUUID();
  });

  // A select (or input) marked data-time-zone starts at the reader's own zone, unless something was chosen.
  document.querySelectorAll("[data-time-zone]").forEach(function (field) {
    var zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if (field.value || !zone) return;
    if (field.options && !Array.prototype.some.call(field.options, function (o) { return o.value === zone; })) return;
    field.value = zone;
  });

  // Leaving quickly also takes this page out of the Back button.
  document.querySelectorAll("a[data-leave]").forEach(function (link) {
    link.addEventListener("click", function (event) {
      event.preventDefault();
      document.documentElement.hidden = true;
      location.replace(link.href);
    });
  });

  var summary = document.querySelector(".govuk-error-summary");
  if (summary) summary.focus();
})();
