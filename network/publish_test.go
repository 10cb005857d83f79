package network

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/berth-engine/berth/core"
)

// republish changes the published ports of an open sandbox.
func (b *box) republish(t *testing.T, specs ...string) ([]core.PublishedPort, error) {
	t.Helper()
	spec := b.spec
	publish(specs...)(&spec)
	return b.organ.Sandboxes.Publish(t.Context(), spec)
}

// shown is the list as text: "127.0.0.1:8080>80/tcp …".
func shown(list []core.PublishedPort) string {
	var texts []string
	for _, p := range list {
		texts = append(texts, fmt.Sprintf("%s:%d>%s", p.HostIP, p.HostPort, p.Port))
	}
	return strings.Join(texts, " ")
}

func TestPublishedPortsChangeWhileAContainerRuns(t *testing.T) {
	o := organ(t)
	web := open(t, o, "web", publish("8080:80/tcp", "127.0.0.1:5353:53/udp"))
	serve(t, web.NS, ":80", "eighty")
	serve(t, web.NS, ":81", "eighty-one")
	serveUDP(t, web.NS, ":53", "datagram")
	// A connection through a port that stays is not disturbed.
	var echo net.Listener
	inside(t, web.NS, func() (err error) { echo, err = net.Listen("tcp", ":82"); return err })
	t.Cleanup(func() { echo.Close() })
	go func() {
		if conn, err := echo.Accept(); err == nil {
			_, _ = io.Copy(conn, conn)
			conn.Close()
		}
	}()
	_, err := web.republish(t, "8080:80/tcp", "127.0.0.1:8082:82/tcp", "127.0.0.1:5353:53/udp")
	check(t, err)
	conn, err := net.Dial("tcp", hostLoopback+":8082")
	check(t, err)
	defer conn.Close()
	check(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	said := func() string {
		t.Helper()
		_, err := conn.Write([]byte("ahoy"))
		check(t, err)
		buf := make([]byte, 4)
		_, err = io.ReadFull(conn, buf)
		check(t, err)
		return string(buf)
	}
	expect(t, "a port that came", said(), "ahoy")

	got, err := web.republish(t, "127.0.0.1:8082:82/tcp", "127.0.0.1:8081:80/tcp", "127.0.0.1:5354:53/udp")
	check(t, err)
	expect(t, "held", shown(got), "127.0.0.1:5354>53/udp 127.0.0.1:8081>80/tcp 127.0.0.1:8082>82/tcp")
	expect(t, "the connection goes on", said(), "ahoy")
	expect(t, "the new port", get(t, nil, "tcp", hostLoopback+":8081"), "eighty 172.17.0.1")
	expect(t, "the old port", get(t, nil, "tcp", hostLoopback+":8080"), "")
	expect(t, "the new udp port", get(t, nil, "udp", hostLoopback+":5354"), "datagram")

	// The same number on fewer addresses, and leading elsewhere, in one step.
	_, err = web.republish(t, "127.0.0.1:8082:82/tcp", "8081:80/tcp")
	check(t, err)
	expect(t, "everywhere", get(t, nil, "tcp", "172.17.0.1:8081"), "eighty 172.17.0.1")
	_, err = web.republish(t, "127.0.0.1:8082:82/tcp", "127.0.0.1:8081:81/tcp")
	check(t, err)
	expect(t, "elsewhere", get(t, nil, "tcp", hostLoopback+":8081"), "eighty-one 172.17.0.1")
	expect(t, "on loopback only", get(t, nil, "tcp", "172.17.0.1:8081"), "")
	_, err = web.republish(t, "127.0.0.1:8082:82/tcp", "127.0.0.1:8081:80/tcp")
	check(t, err)
	expect(t, "and back", get(t, nil, "tcp", hostLoopback+":8081"), "eighty 172.17.0.1")

	// A choice of the host's does not take what another asks for.
	got, err = web.republish(t, "127.0.0.1:8082:82/tcp", "127.0.0.1::80/tcp", "127.0.0.1:8081:80/tcp")
	check(t, err)
	if len(got) != 3 || got[0].HostPort != 8081 && got[1].HostPort != 8081 {
		t.Errorf("beside a choice of the host's: %s", shown(got))
	}
	_, err = web.republish(t, "127.0.0.1:8082:82/tcp", "127.0.0.1:8081:80/tcp")
	check(t, err)

	// One that is taken: nothing changes, also of what had to make room.
	taken, err := net.Listen("tcp", hostLoopback+":8090")
	check(t, err)
	defer taken.Close()
	if _, err = web.republish(t, "8081:80/tcp", "8090:81/tcp"); err == nil || !strings.Contains(err.Error(), "failed to bind host port 0.0.0.0:8090/tcp: address already in use") {
		t.Errorf("a port that is taken: %v", err)
	}
	open(t, o, "other", publish("127.0.0.1:8091:80/tcp"))
	if _, err = web.republish(t, "127.0.0.1:8091:80/tcp"); err == nil || !strings.Contains(err.Error(), "Bind for 127.0.0.1:8091 failed: port is already allocated") {
		t.Errorf("a port of another container: %v", err)
	}
	expect(t, "after that", get(t, nil, "tcp", hostLoopback+":8081"), "eighty 172.17.0.1")
	expect(t, "the connection still goes on", said(), "ahoy")
	got, err = web.republish(t, "127.0.0.1:8082:82/tcp", "127.0.0.1:8081:80/tcp")
	check(t, err)
	expect(t, "held", shown(got), "127.0.0.1:8081>80/tcp 127.0.0.1:8082>82/tcp")
	_, err = web.republish(t)
	check(t, err)
	for _, port := range []string{":8081", ":8082"} {
		free, err := net.Listen("tcp", hostLoopback+port)
		check(t, err)
		check(t, free.Close())
	}
	expect(t, "the connection outlives its port", said(), "ahoy")
}

func TestAPortThatAnotherProgramTookMeanwhileStillLeadsToItsContainer(t *testing.T) {
	o := organ(t)
	web := open(t, o, "web")
	serve(t, web.NS, ":80", "web")
	taken, err := net.Listen("tcp", hostLoopback+":8080")
	check(t, err)
	defer taken.Close()
	// The daemon that published it is dead, and its successor takes the container over.
	sb := o.sandbox(web.spec.Container)
	sb.op.Lock()
	sb.Published = []core.PublishedPort{{Port: core.Port{Number: 80, Protocol: core.TCP}, HostIP: netipLoopback, HostPort: 8080}}
	err = sb.republish(t.Context())
	sb.op.Unlock()
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("nobody is told: %v", err)
	}
	check(t, o.firewall.Set(t.Context(), o.state()))
	expect(t, "the container", get(t, nil, "tcp", hostLoopback+":8080"), "web 172.17.0.1")
	web.close(t)
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		if conn, err := taken.Accept(); err == nil {
			fmt.Fprint(conn, "the other")
			conn.Close()
		}
	}()
	expect(t, "the other program, once the container is gone", get(t, nil, "tcp", hostLoopback+":8080"), "the other")
	<-accepted
}
