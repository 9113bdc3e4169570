/** The peer of the relay's benchmark: a bare `ws` server that sends back what it gets. Prints its port. */

import type { AddressInfo } from 'node:net'
import { WebSocketServer } from 'ws'

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false })
server.on('connection', ws => ws.on('message', data => ws.send(data)))
server.on('listening', () => console.log((server.address() as AddressInfo).port))
