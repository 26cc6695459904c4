// Package all has the phases of all packages, for whoever imports it.
package all

import (
	_ "connbench/harness/phase/connections" // what becomes of connections
	_ "connbench/harness/phase/loads"       // what they carry
)
