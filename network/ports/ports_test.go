package ports

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/berth-engine/berth/core"
)

func loopback(n byte) []netip.Addr { return []netip.Addr{netip.AddrFrom4([4]byte{127, 9, 9, n})} }

func TestTakeTellsWhoHasThePort(t *testing.T) {
	book := NewBook()
	other, err := net.Listen("tcp4", "127.9.9.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	used := uint16(other.Addr().(*net.TCPAddr).Port)
	_, err = book.Take(t.Context(), core.TCP, loopback(1), used, used)
	if want := fmt.Sprintf("failed to bind host port 127.9.9.1:%d/tcp: address already in use", used); err == nil || err.Error() != want || !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("another program's port: %v, want %s", err, want)
	}
	mine, err := book.Take(t.Context(), core.TCP, loopback(2), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = book.Take(t.Context(), core.TCP, loopback(2), mine.Port, mine.Port)
	if want := fmt.Sprintf("Bind for 127.9.9.2:%d failed: port is already allocated", mine.Port); err == nil || err.Error() != want {
		t.Errorf("another container's port: %v, want %s", err, want)
	}
	if _, err = book.Take(t.Context(), core.TCP, []netip.Addr{netip.IPv4Unspecified()}, mine.Port, mine.Port); err == nil || !strings.Contains(err.Error(), "port is already allocated") {
		t.Errorf("everywhere, when somebody has it somewhere: %v", err)
	}
	for what, take := range map[string]func() (*Lease, error){
		"another address":  func() (*Lease, error) { return book.Take(t.Context(), core.TCP, loopback(3), mine.Port, mine.Port) },
		"another protocol": func() (*Lease, error) { return book.Take(t.Context(), core.UDP, loopback(2), mine.Port, mine.Port) },
		"the next of a range": func() (*Lease, error) {
			return book.Take(t.Context(), core.TCP, loopback(2), mine.Port, mine.Port+5)
		},
	} {
		l, err := take()
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		l.Close()
		l.Close()
	}
	mine.Close()
	again, err := book.Take(t.Context(), core.TCP, loopback(2), mine.Port, mine.Port)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	if len(book.taken) != 0 {
		t.Errorf("left: %v", book.taken)
	}
}

func TestParseRange(t *testing.T) {
	for in, want := range map[string]string{
		"": "0 0", "0": "0 0", "80": "80 80", "8000-8010": "8000 8010", "65535": "65535 65535",
		"-1": "bad", "65536": "bad", "80-70": "bad", "x": "bad", "80x": "bad", "1-": "bad", "0-5": "bad", " 80": "bad", "080": "bad",
	} {
		begin, end, err := ParseRange(in)
		got := fmt.Sprint(begin, end)
		if err != nil {
			got = "bad"
		}
		if got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}

func TestForward(t *testing.T) {
	server, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); c.Close() }()
		}
	}()
	lease, err := NewBook().Take(t.Context(), core.TCP, loopback(4), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	lease.Forward(t.Context(), netip.MustParseAddrPort(server.Addr().String()))
	at := fmt.Sprintf("127.9.9.4:%d", lease.Port)
	client, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	const sent = "there and back"
	if _, err := io.WriteString(client, sent); err != nil {
		t.Fatal(err)
	}
	if err := client.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(client)
	if err != nil || string(got) != sent {
		t.Errorf("got %q %v", got, err)
	}
	client.Close()
	open, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	lease.Close() // ends connections that are open
	if err := open.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := open.Read(make([]byte, 1)); err == nil || errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("after Close: %v", err)
	}
}

func TestForwardDatagrams(t *testing.T) {
	server, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		buf := make([]byte, 2000)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = server.WriteTo(buf[:n], from)
		}
	}()
	lease, err := NewBook().Take(t.Context(), core.UDP, loopback(5), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Close()
	lease.Forward(t.Context(), netip.MustParseAddrPort(server.LocalAddr().String()))
	for i := range 3 {
		client, err := net.Dial("udp", fmt.Sprintf("127.9.9.5:%d", lease.Port))
		if err != nil {
			t.Fatal(err)
		}
		sent := fmt.Sprint("datagram ", i)
		if _, err := client.Write([]byte(sent)); err != nil {
			t.Fatal(err)
		}
		if err := client.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		n, err := client.Read(buf)
		if err != nil || string(buf[:n]) != sent {
			t.Errorf("got %q %v", buf[:n], err)
		}
		client.Close()
	}
}

// FuzzParseRange reads ports of the host: what is refused is the client's mistake, and a range goes upwards.
func FuzzParseRange(f *testing.F) {
	for _, seed := range []string{"", "0", "80", "80-90", "90-80", "0-1", "-", "80-", "+80", "080", "65536", "8 0", "0x50"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		begin, end, err := ParseRange(s)
		if err != nil && !errdefs.IsInvalidArgument(err) || err == nil && (begin > end || begin == 0 && end != 0) {
			t.Errorf("%q: %d to %d, %v", s, begin, end, err)
		}
	})
}
