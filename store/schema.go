// Package store keeps Berth's own records on the disk: what must survive the daemon, and the machine.
//
// Containers live in one bbolt file (Records), events in a pair of plain files (Events). Every other organ keeps what
// it owns itself. The tree of the bbolt file:
//
//	meta
//	  version                  "1", the number of this schema
//	containers
//	  <container ID>           core.Container as JSON
//	corrupt
//	  <bucket>/<key>           a value that could not be read, as it was, set aside for a human
package store

// schemaVersion changes when an older daemon could no longer read what this one writes.
const schemaVersion = "1"

// The names of the drawing above.
var (
	bucketMeta       = []byte("meta")
	keyVersion       = []byte("version")
	bucketContainers = []byte("containers")
	bucketCorrupt    = []byte("corrupt")
)
