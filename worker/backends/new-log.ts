import { deleteDB, openDB } from 'idb'

/** Below 64 KiB, from where Chromium makes a file of every value; and so many that its log is changed twice: for each 4 MiB. */
const VALUE = 60_000
const COUNT = 160

/**
 * Makes Chromium begin a new log for the databases of this origin, which takes a tenth of a second.
 *
 * It keeps them in one LevelDB, and after a crash writes on at the end of the log it finds. If the crash came in the middle of a
 * record, what is written from then on stands behind half a record: the next start takes that for damage, and drops all the origin's
 * databases. So after an end that was not a clean one the log has to be left behind before anything is promised.
 */
export async function beginNewLog() {
  if (!/Chrom(e|ium)\//.test(globalThis.navigator?.userAgent ?? '')) return
  const name = 'ringlet-new-log'
  try {
    const db = await openDB(name, 1, { upgrade: db => void db.createObjectStore('filling') })
    const bytes = crypto.getRandomValues(new Uint8Array(VALUE))
    for (const _half of [1, 2]) {
      const { store, done } = db.transaction('filling', 'readwrite')
      for (let key = 0; key < COUNT / 2; key++) store.put(bytes, key)
      await done
    }
    db.close()
    await deleteDB(name)
  } catch {
    // There is no room: then nothing new can be promised either.
  }
}
