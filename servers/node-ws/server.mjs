// node-ws is a WebSocket echo server on Node's http and the library ws: one thread with the
// event loop of the runtime.
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import readline from 'node:readline';
import { WebSocketServer } from 'ws';

// mostUnsent is how much may wait for a peer that does not read, in bytes, before it is not
// read from any more.
const mostUnsent = 64 << 10;

function usage(message) {
  process.stderr.write(`node-ws: ${message}\n`);
  process.exit(2);
}

function readOptions(words) {
  const options = { listen: '', 'max-message': '65536', backlog: '4096', loops: '1', work: '0', class: 'default', compression: '', tls: '', broadcast: '' };
  for (let i = 0; i < words.length; i += 2) {
    const name = words[i].replace(/^--/, '');
    if (!words[i].startsWith('--') || !(name in options)) usage(`unknown argument "${words[i]}"`);
    if (i + 1 === words.length) usage(`${words[i]} has no value`);
    options[name] = words[i + 1];
  }
  const number = (name, least) => {
    if (!/^[0-9]+$/.test(options[name]) || Number(options[name]) < least) usage(`--${name} is not a number: "${options[name]}"`);
    return Number(options[name]);
  };
  if (!['default', 'tuned'].includes(options.class)) usage(`--class is not default or tuned: "${options.class}"`);
  if (!['', 'deflate', 'deflate-takeover'].includes(options.compression)) usage(`--compression is not deflate or deflate-takeover: "${options.compression}"`);
  const addresses = options.listen.split(',').map((text) => {
    const parts = text.match(/^(?:\[([0-9a-fA-F:.]+)\]|([^:]*)):([0-9]+)$/);
    if (!parts) usage(`--listen is not a list of HOST:PORT: "${text}"`);
    return { host: parts[1] ?? parts[2], port: Number(parts[3]), ipv6Only: parts[1] !== undefined };
  });
  if (!['', 'all'].includes(options.broadcast)) usage(`--broadcast is not all: "${options.broadcast}"`);
  number('loops', 1);
  return { addresses, maxMessage: number('max-message', 1), backlog: number('backlog', 1), work: number('work', 0), tuned: options.class === 'tuned', compression: options.compression, tls: options.tls, broadcast: options.broadcast === 'all' };
}

const options = readOptions(process.argv.slice(2));
const [protocol, certificate] = options.tls ? [https, readCertificate(options.tls)] : [http, {}];
let connections = 0;

function readCertificate(file) {
  try {
    const pem = fs.readFileSync(file);
    return { key: pem, cert: pem, minVersion: 'TLSv1.3' };
  } catch (error) {
    process.stderr.write(`node-ws: --tls: ${error.message}\n`);
    process.exit(1);
  }
}

// useCPU uses up CPU time, in microseconds. Node 20 has no clock of a thread's CPU time, so
// that of the process stands in for it.
function useCPU(us) {
  if (us === 0) return;
  const begin = process.cpuUsage();
  for (let spent = 0; spent < us; ) {
    const { user, system } = process.cpuUsage(begin);
    spent = user + system;
  }
}

const websockets = new WebSocketServer({
  noServer: true,
  maxPayload: options.maxMessage,
  perMessageDeflate: options.compression !== '' && {
    serverNoContextTakeover: options.compression === 'deflate',
    clientNoContextTakeover: options.compression === 'deflate',
  },
  clientTracking: !options.tuned,
  // ws drops a connection of which many pings, pieces or fragments wait.
  maxPendingAutoPongs: 0,
  maxBufferedChunks: 0,
  maxFragments: 0,
});

// members are the connections that messages go to, if they go to all.
const members = new Set();

// mostWaiting is how much may wait for a member that does not read, in bytes, before it is dropped.
const mostWaiting = 1 << 20;

function publish(data, binary) {
  for (const socket of members) {
    if (socket.bufferedAmount > mostWaiting) socket.terminate();
    else socket.send(data, { binary });
  }
}

function serve(socket) {
  connections++;
  if (options.broadcast) members.add(socket);
  socket.on('close', () => {
    connections--;
    members.delete(socket);
  });
  socket.on('error', () => {}); // ws has told the peer, and closes
  socket.on('message', (data, isBinary) => {
    useCPU(options.work);
    if (options.broadcast) return publish(data, isBinary);
    socket.send(data, { binary: isBinary }, sent);
    if (socket.bufferedAmount > mostUnsent && !socket.isPaused) socket.pause();
  });
  function sent() {
    if (socket.isPaused && socket.bufferedAmount <= mostUnsent) socket.resume();
  }
}

// refuse answers a request that node or ws would take though it must not be.
function refuse(socket, status) {
  const more = status === 426 ? 'Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' : '';
  socket.end(`HTTP/1.1 ${status} ${http.STATUS_CODES[status]}\r\nConnection: close\r\n${more}Content-Length: 0\r\n\r\n`);
}

function upgrade(request, socket, head) {
  socket.on('error', () => {});
  const hosts = request.rawHeaders.filter((name, i) => i % 2 === 0 && name.toLowerCase() === 'host').length;
  const length = request.headers['content-length'];
  if (request.httpVersionMajor !== 1 || request.httpVersionMinor < 1 || hosts !== 1 || !/^[-A-Za-z0-9._~%!$&'()*+,;=:[\]]*$/.test(request.headers.host)) return refuse(socket, 400);
  if (request.headers['sec-websocket-version'] !== '13') return refuse(socket, 426);
  if (request.headers['transfer-encoding'] !== undefined || (length !== undefined && Number(length) !== 0)) return refuse(socket, 413);
  websockets.handleUpgrade(request, socket, head, serve);
}

function listen({ host, port, ipv6Only }) {
  const server = protocol.createServer({ ...certificate, maxHeaderSize: 8 << 10, noDelay: true, keepAlive: false }, (request, response) => {
    response.writeHead(426, { Connection: 'close, Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13' });
    response.end();
  });
  server.on('upgrade', upgrade);
  return new Promise((resolve) => {
    server.on('error', (error) => {
      process.stderr.write(`node-ws: listen on ${net.isIPv6(host) ? `[${host}]` : host}:${port}: ${error.message}\n`);
      process.exit(1);
    });
    server.listen({ host: host || '0.0.0.0', port, backlog: options.backlog, ipv6Only }, () => resolve(server.address()));
  });
}

function stats() {
  const { user, system } = process.cpuUsage();
  const memory = process.memoryUsage();
  return { connections, heap_in_use_bytes: memory.heapUsed + memory.external, user_seconds: user / 1e6, system_seconds: system / 1e6 };
}

function answer(question) {
  if (question === 'settle') {
    globalThis.gc?.();
    const figures = stats();
    console.log(JSON.stringify({ ...figures, heap_live_bytes: figures.heap_in_use_bytes }));
  } else if (question === 'stats') {
    console.log(JSON.stringify(stats()));
  } else {
    process.stderr.write(`node-ws: unknown question "${question}"\n`);
  }
}

async function main() {
  process.on('SIGTERM', () => process.exit(0));
  const bound = [];
  for (const address of options.addresses) bound.push(await listen(address));
  const addresses = bound.map((a) => (a.family === 'IPv6' ? `[${a.address}]:${a.port}` : `${a.address}:${a.port}`));
  console.log(JSON.stringify({ ready: true, addresses }));
  readline.createInterface({ input: process.stdin }).on('line', answer).on('close', () => process.exit(0));
}

main();
