// The yardstick: a bare node:https server that reads a JSON body and answers with JSON of a given size and the same
// headers as the data plane. Arguments: key file, certificate file, size of the answer. Prints its port.
const { readFileSync } = require('node:fs');
const { createServer } = require('node:https');

const [key, cert, size] = process.argv.slice(2);
const answer = JSON.stringify({ value: 'x'.repeat(Math.max(0, Number(size) - 12)) });
const headers = {
  'Cache-Control': 'no-cache',
  'Content-Type': 'application/json; charset=utf-8',
  'Content-Length': Buffer.byteLength(answer),
  'Content-Security-Policy': "default-src 'self'",
  'Strict-Transport-Security': 'max-age=31536000; includeSubDomains',
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'SAMEORIGIN',
  'x-ms-request-id': '00000000-0000-1000-8000-000000000000',
  'x-ms-server-latency': '0',
  'x-ms-keyvault-region': 'local',
  'x-ms-keyvault-network-info': 'conn_type=Ipv4;addr=127.0.0.1;act_addr_fam=Ipv4;',
};
const server = createServer({ key: readFileSync(key), cert: readFileSync(cert) }, (request, response) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    if (chunks.length > 0) JSON.parse(Buffer.concat(chunks).toString());
    response.writeHead(200, headers).end(answer);
  });
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
