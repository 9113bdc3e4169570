import './terminal.ts'
import './app.ts'
