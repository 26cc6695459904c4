// A chat as people write one: it greets, pings every connection each second, answers a
// message to its author and sends it to nine others in the room.
import { createServer } from "node:http";
import { WebSocketServer } from "ws";

const http = createServer((_, answer) => answer.writeHead(404).end("no such page"));
const server = new WebSocketServer({ noServer: true });
http.on("upgrade", (request, socket, head) => {
  socket.on("error", () => {});
  if (new URL(request.url, "http://x").pathname !== "/chat") {
    socket.end("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope");
    return;
  }
  server.handleUpgrade(request, socket, head, (peer) => server.emit("connection", peer));
});

const room = [];
server.on("connection", (peer) => {
  room.push(peer);
  peer.send(JSON.stringify({ welcome: room.length }));
  peer.on("close", () => room.splice(room.indexOf(peer), 1));
  peer.on("message", (text) => {
    peer.send(JSON.stringify({ you: String(text) }));
    for (const other of room.slice(0, 9)) {
      if (other !== peer) other.send(JSON.stringify({ they: String(text) }));
    }
  });
});
setInterval(() => server.clients.forEach((peer) => peer.ping()), 1000);
http.listen(0, "127.0.0.1", () => console.log(http.address().port));
