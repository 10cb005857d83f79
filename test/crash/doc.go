// Package crash kills daemons. At every failpoint that a scenario passes (lib/failpoint; the names are learned from a
// run that traces them) the daemon dies once; the next one must come up, show every container as it truly is, and be
// able to remove all of it with nothing left. Other tests kill it from outside, below running containers and attached
// clients, and play a reboot.
package crash
