"use strict";
const element = (id) => document.getElementById(id);
let socket = null;
let protocols = async () => ["rooms.v1"];

function show(kind, text) {
  const line = document.createElement("li");
  line.className = kind;
  line.textContent = text;
  element("frames").prepend(line);
}

function setState(text, { idle = false, open = false } = {}) {
  element("state").value = text;
  element("state").className = open ? "open" : "";
  element("connect").disabled = !idle;
  element("disconnect").disabled = !open;
  element("rooms").disabled = !open;
}

function send(frame) {
  socket.send(JSON.stringify(frame));
  show("sent", `→ ${JSON.stringify(frame)}`);
}

element("connection").addEventListener("submit", async (event) => {
  event.preventDefault();
  setState("connecting …");
  const url = new URL("v1/ws", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  try {
    socket = new WebSocket(url, await protocols());
  } catch (error) {
    setState(error.message, { idle: true });
    return;
  }
  socket.addEventListener("open", () => setState("connected", { open: true }));
  socket.addEventListener("message", ({ data }) => show("received", `← ${data}`));
  socket.addEventListener("close", ({ code, reason }) => {
    // A browser does not tell a page why a handshake was refused: the log of the service does.
    setState(code === 1006 ? "refused or lost: see the log" : `closed: ${code} ${reason}`, { idle: true });
  });
});

element("disconnect").addEventListener("click", () => socket.close());

element("room").addEventListener("submit", (event) => {
  event.preventDefault();
  send({ type: event.submitter.value, room: event.target.room.value });
});

element("message").addEventListener("submit", (event) => {
  event.preventDefault();
  send({ type: "publish", room: element("room").room.value, data: event.target.data.value });
});
