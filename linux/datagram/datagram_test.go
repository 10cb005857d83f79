package datagram

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"
)

func TestAnswersReachWhoAsked(t *testing.T) {
	server, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := server.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		for {
			b, err := Receive(raw)
			if err != nil {
				ended <- err
				return
			}
			for i := range b.Len() {
				data, whole := b.Data(i)
				b.Answer(i, fmt.Appendf(b.Room(i), "%s %d %t", b.From(i), len(data), whole))
			}
			if err := b.Send(raw); err != nil {
				ended <- err
				return
			}
			b.Release()
		}
	}()
	for _, length := range []int{0, 1, 512, MaxIn, MaxIn + 1, 9000} {
		client, err := net.Dial("udp4", server.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := client.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		const many = 10
		for range many {
			if _, err := client.Write(bytes.Repeat([]byte{'x'}, length)); err != nil {
				t.Fatal(err)
			}
		}
		want := fmt.Sprintf("%s %d %t", client.LocalAddr(), min(length, MaxIn), length <= MaxIn)
		buf := make([]byte, 100)
		for range many {
			n, err := client.Read(buf)
			if err != nil || string(buf[:n]) != want {
				t.Fatalf("%d bytes: %q %v, want %q", length, buf[:n], err, want)
			}
		}
		client.Close()
	}
	server.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("ended with %v", err)
	}
}
