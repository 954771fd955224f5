// A front as Azure has one: TLS, HTTP/2 where the client wants it, compressed answers.
//   node h2front.js PORT KEY CERTIFICATE     prints the port that leads to PORT
// GET /__front tells what it has seen.
'use strict';
const http = require('http');
const http2 = require('http2');
const fs = require('fs');
const zlib = require('zlib');

const [target, key, cert] = process.argv.slice(2);
const agent = new http.Agent({keepAlive: true});
const seen = {sessions: 0, requests: {}, plain: 0, sent: 0, at_once: 0};
let now = 0;

const server = http2.createSecureServer({key: fs.readFileSync(key), cert: fs.readFileSync(cert), allowHTTP1: true});
server.on('secureConnection', () => seen.sessions++);

function finish(request, response, answer, body) {
  const host = request.headers[':authority'] || request.headers.host;
  const headers = {};
  for (const [name, value] of Object.entries(answer.headers))
    if (!['connection', 'keep-alive', 'transfer-encoding', 'content-length'].includes(name))
      headers[name] = value;
  if (/json/.test(headers['content-type'] || ''))
    body = Buffer.from(body.toString('utf8').replaceAll('http://' + host, 'https://' + host));
  seen.plain += body.length;
  if (/gzip/.test(request.headers['accept-encoding'] || '') && body.length > 200) {
    body = zlib.gzipSync(body);
    headers['content-encoding'] = 'gzip';
  }
  headers['content-length'] = body.length;
  seen.sent += body.length;
  now--;
  response.writeHead(answer.statusCode, headers);
  response.end(request.method === 'HEAD' ? undefined : body);
}

server.on('request', (request, response) => {
  if (request.url === '/__front') {
    response.end(JSON.stringify(seen));
    return;
  }
  const version = request.httpVersion;
  seen.requests[version] = (seen.requests[version] || 0) + 1;
  seen.at_once = Math.max(seen.at_once, ++now);
  const headers = {};
  for (const [name, value] of Object.entries(request.headers))
    if (!name.startsWith(':') && name !== 'accept-encoding')
      headers[name] = value;
  headers.host = request.headers[':authority'] || request.headers.host;
  const onward = http.request({host: '127.0.0.1', port: target, method: request.method, path: request.url, headers, agent}, answer => {
    const pieces = [];
    answer.on('data', piece => pieces.push(piece));
    answer.on('end', () => finish(request, response, answer, Buffer.concat(pieces)));
  });
  onward.on('error', () => response.destroy());
  request.pipe(onward);
});

server.listen(0, '127.0.0.1', () => console.log(server.address().port));
