/** Where a relay listens and a page looks for one, unless told otherwise. */
export const RELAY_PORT = 7654
export const RELAY_URL = `ws://127.0.0.1:${RELAY_PORT}/`
