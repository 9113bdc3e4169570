/** The servers of `internet.ts`, run inside its namespace. Says a line when they listen. */

import { createSocket } from 'node:dgram'
import { createServer } from 'node:http'
import dnsPacket from 'dns-packet'
import { HTTP_PORT, pattern } from './internet.ts'

const names = JSON.parse(process.argv[2] ?? '{}') as Record<string, string[]>
let connections = 0

const http = createServer((request, response) => {
  const length = /^\/bytes\/(\d+)$/.exec(request.url ?? '')?.[1]
  if (length !== undefined) {
    const total = Number(length)
    let sent = 0
    response.writeHead(200, { 'content-length': total, 'content-type': 'application/octet-stream' })
    const more = () => {
      while (sent < total) {
        const part = pattern(sent, Math.min(65_536, total - sent))
        sent += part.length
        if (!response.write(part)) {
          response.once('drain', more)
          return
        }
      }
      response.end()
    }
    more()
  } else if (request.url === '/connections') response.end(`${connections}`)
  else response.end('hello\n')
})
http.on('connection', () => connections++)

const dns = createSocket('udp4')
dns.on('message', (message, from) => {
  const query = dnsPacket.decode(message)
  const name = query.questions?.[0]?.name.toLowerCase() ?? ''
  const answers = (names[name] ?? []).map(data => ({ type: 'A', name, ttl: 60, data }) as const)
  const flags = dnsPacket.RECURSION_AVAILABLE | (names[name] ? 0 : 3)
  dns.send(
    dnsPacket.encode({ type: 'response', id: query.id, flags, questions: query.questions, answers }),
    from.port,
    from.address,
  )
})

http.listen(HTTP_PORT, '0.0.0.0', () => dns.bind(53, '0.0.0.0', () => process.stdout.write('listening\n')))
