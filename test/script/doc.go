// Package script runs the transcripts in testdata: commands of `berth` and what they print, one file a topic. They are
// the specification that people read. Each runs against a berthd of its own, on roots of its own, and fails when
// anything is left of that afterwards: a process, mount, network link, firewall table or control group.
//
// On top of the commands of testscript there are
//
//	[!] berth …             the client, with BERTH_HOST set to this transcript's daemon
//	code N COMMAND …        the command must end with exit code N
//	await PATTERN COMMAND … runs the command until a line of its output matches, then ends it
//	fetch URL               gets a page; stdout is its content
//	daemon kill|stop|start|reload  kill is SIGKILL; start waits until it answers
//	image NAME              loads a small image with busybox under that name
package script
