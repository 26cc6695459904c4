// bun is a WebSocket echo server on Bun, whose WebSockets are those of uWebSockets, in C++:
// one thread with the event loop of the runtime.
import fs from 'node:fs';
import readline from 'node:readline';

// mostUnsent is how much may wait for a peer that does not read, in bytes, besides one message;
// then it is dropped.
const mostUnsent = 16 << 20;

function usage(message) {
  process.stderr.write(`bun: ${message}\n`);
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
    return { hostname: parts[1] ?? (parts[2] || '0.0.0.0'), port: Number(parts[3]) };
  });
  if (!['', 'all'].includes(options.broadcast)) usage(`--broadcast is not all: "${options.broadcast}"`);
  number('loops', 1);
  number('backlog', 1);
  return { addresses, maxMessage: number('max-message', 1), work: number('work', 0), compression: options.compression, tls: options.tls, broadcast: options.broadcast === 'all' };
}

const options = readOptions(process.argv.slice(2));
const tls = options.tls ? readCertificate(options.tls) : undefined;
const servers = []; // one for each address
let connections = 0;

// everybody is the topic of messages that go to all.
const everybody = 'everybody';

function readCertificate(file) {
  try {
    const pem = fs.readFileSync(file, 'utf8');
    return { key: pem, cert: pem };
  } catch (error) {
    process.stderr.write(`bun: --tls: ${error.message}\n`);
    process.exit(1);
  }
}

// useCPU uses up CPU time, in microseconds: that of the process stands in for the thread's.
function useCPU(us) {
  if (us === 0) return;
  const begin = process.cpuUsage();
  for (let spent = 0; spent < us; ) {
    const { user, system } = process.cpuUsage(begin);
    spent = user + system;
  }
}

function fetch(request, server) {
  const length = request.headers.get('content-length');
  const connection = (request.headers.get('connection') ?? '').toLowerCase().split(',').map((token) => token.trim());
  const hasContent = request.headers.has('transfer-encoding') || (length !== null && Number(length) !== 0);
  if (request.method !== 'GET' || hasContent || !connection.includes('upgrade')) return new Response('', { status: 400, headers: { Connection: 'close' } });
  if (server.upgrade(request)) return undefined;
  return new Response('', { status: 426, headers: { Upgrade: 'websocket', 'Sec-WebSocket-Version': '13' } });
}

const websocket = {
  maxPayloadLength: options.maxMessage,
  idleTimeout: 0,
  sendPings: false,
  perMessageDeflate: { '': false, deflate: { compress: 'shared', decompress: 'shared' }, 'deflate-takeover': { compress: 'dedicated', decompress: 'dedicated' } }[options.compression],
  backpressureLimit: options.maxMessage + mostUnsent,
  closeOnBackpressureLimit: true,
  open(socket) {
    if (options.broadcast) socket.subscribe(everybody);
    connections++;
  },
  close() {
    connections--;
  },
  message(socket, message) {
    useCPU(options.work);
    if (options.broadcast) for (const server of servers) server.publish(everybody, message);
    else socket.send(message, options.compression !== '');
  },
};

function listen(address) {
  try {
    const server = Bun.serve({ ...address, tls, idleTimeout: 0, fetch, websocket });
    servers.push(server);
    return server.port;
  } catch (error) {
    process.stderr.write(`bun: listen on ${address.hostname}:${address.port}: ${error.message}\n`);
    process.exit(1);
  }
}

function stats() {
  const { user, system } = process.cpuUsage();
  return { connections, heap_in_use_bytes: process.memoryUsage().heapUsed, user_seconds: user / 1e6, system_seconds: system / 1e6 };
}

function answer(question) {
  if (question === 'settle') {
    Bun.gc(true);
    const figures = stats();
    console.log(JSON.stringify({ ...figures, heap_live_bytes: figures.heap_in_use_bytes }));
  } else if (question === 'stats') {
    console.log(JSON.stringify(stats()));
  } else {
    process.stderr.write(`bun: unknown question "${question}"\n`);
  }
}

process.on('SIGTERM', () => process.exit(0));
const addresses = options.addresses.map((address) => {
  const port = listen(address);
  return address.hostname.includes(':') ? `[${address.hostname}]:${port}` : `${address.hostname}:${port}`;
});
console.log(JSON.stringify({ ready: true, addresses }));
readline.createInterface({ input: process.stdin }).on('line', answer).on('close', () => process.exit(0));
