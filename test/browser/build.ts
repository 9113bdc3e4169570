import { build } from 'vite'

/** The tests run against what would be put on a web server. */
export default () => build({ logLevel: 'warn' })
