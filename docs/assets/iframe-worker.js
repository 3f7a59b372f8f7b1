// Browsers start no workers for pages opened from disk. There the search runs in a hidden frame instead, behind the
// name and the methods by which the theme asks for it.
"use strict";
(() => {
  if (location.protocol !== "file:") return;

  const inFrame = `
    self.postMessage = (data) => parent.postMessage(data, "*");
    self.importScripts = async (...urls) => {
      for (const url of urls) {
        await new Promise((done, failed) => {
          const script = document.createElement("script");
          Object.assign(script, { src: url, onload: done, onerror: failed });
          document.body.append(script);
        });
      }
    };`;

  class FrameWorker extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      this.inner = frame.contentWindow;
      addEventListener("message", (event) => {
        if (event.source !== this.inner) return;
        const message = new MessageEvent("message", { data: event.data });
        this.dispatchEvent(message);
        if (this.onmessage) this.onmessage(message);
      });
      const page = this.inner.document;
      page.open();
      page.write(`<body><script>${inFrame}</script><script src="${new URL(url, location)}"></script>`);
      page.close();
      this.ready = new Promise((done) => (frame.onload = done));
    }

    postMessage(data) {
      this.ready.then(() => this.inner.dispatchEvent(new MessageEvent("message", { data })));
    }
  }

  window.IFrameWorker = window.Worker = FrameWorker;
})();
