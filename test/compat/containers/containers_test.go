package containers

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	_ "github.com/lib/pq" // the driver "postgres"
	"github.com/moby/moby/api/types/container"
	published "github.com/moby/moby/api/types/network"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/exec"
	"github.com/testcontainers/testcontainers-go/network"
	"github.com/testcontainers/testcontainers-go/wait"
)

// patience is long: the machine may be busy.
const patience = 2 * time.Minute

// run starts a container that is removed at the end of the test.
func run(t *testing.T, image string, options ...testcontainers.ContainerCustomizer) testcontainers.Container {
	t.Helper()
	c, err := testcontainers.Run(t.Context(), image, options...)
	testcontainers.CleanupContainer(t, c)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ask sends a command to the Redis at the published port and gives the first line of its answer.
func ask(t *testing.T, c testcontainers.Container, command string) string {
	t.Helper()
	address, err := c.PortEndpoint(t.Context(), "6379/tcp", "")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "%s\r\n", command)
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(answer)
}

func TestRedisIsWaitedFor(t *testing.T) {
	t.Parallel()
	for name, strategy := range map[string]wait.Strategy{
		"by its log":   wait.ForLog("Ready to accept connections").WithStartupTimeout(patience),
		"by its port":  wait.ForListeningPort("6379/tcp").WithStartupTimeout(patience),
		"by a command": wait.ForExec([]string{"redis-cli", "ping"}).WithStartupTimeout(patience),
		"by all":       wait.ForAll(wait.ForExposedPort(), wait.ForLog("Ready")).WithDeadline(patience),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := run(t, "redis", testcontainers.WithExposedPorts("6379/tcp"), testcontainers.WithWaitStrategy(strategy))
			if got := ask(t, c, "PING"); got != "+PONG" {
				t.Errorf("the answer is %q", got)
			}
		})
	}
}

func TestPostgresIsWaitedFor(t *testing.T) {
	t.Parallel()
	address := func(host string, port published.Port) string {
		return fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=disable", net.JoinHostPort(host, port.Port()))
	}
	c := run(t, "postgres", testcontainers.WithExposedPorts("5432/tcp"), testcontainers.WithWaitStrategyAndDeadline(patience,
		wait.ForLog("database system is ready to accept connections"), wait.ForSQL("5432/tcp", "postgres", address)))
	endpoint, err := c.Endpoint(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("postgres", "postgres://postgres@"+endpoint+"/postgres?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var sum int
	if _, err := db.Exec("CREATE TABLE ships (length INT)"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("INSERT INTO ships VALUES (10), (32)"); err != nil {
		t.Fatal(err)
	}
	if err := db.QueryRow("SELECT sum(length) FROM ships").Scan(&sum); err != nil || sum != 42 {
		t.Errorf("%d %v", sum, err)
	}
	code, output, err := c.Exec(t.Context(), []string{"psql", "-tAc", "SELECT count(*) FROM ships"}, exec.Multiplexed())
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(output); err != nil || code != 0 || string(text) != "2\n" {
		t.Errorf("%d %q %v", code, text, err)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	c := run(t, "redis", testcontainers.WithExposedPorts("6379/tcp"), testcontainers.WithWaitStrategy(wait.ForHealthCheck().WithStartupTimeout(patience)),
		testcontainers.WithConfigModifier(func(config *container.Config) {
			config.Healthcheck = &container.HealthConfig{Test: []string{"CMD", "redis-cli", "ping"}, Interval: 200 * time.Millisecond, Retries: 50}
		}))
	state, err := c.State(t.Context())
	if err != nil || state.Health == nil || state.Health.Status != container.Healthy {
		t.Errorf("state %+v, %v", state, err)
	}
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	c := run(t, "busybox", testcontainers.WithExposedPorts("8080/tcp"),
		testcontainers.WithCmd("sh", "-c", "echo ahoy >/tmp/index.html; exec httpd -f -p 8080 -h /tmp"),
		testcontainers.WithWaitStrategy(wait.ForHTTP("/index.html").WithPort("8080/tcp").WithStartupTimeout(patience)))
	address, err := c.PortEndpoint(t.Context(), "8080/tcp", "http")
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, err := io.ReadAll(answer.Body); err != nil || string(body) != "ahoy\n" {
		t.Errorf("%q %v", body, err)
	}
}

func TestEnd(t *testing.T) {
	t.Parallel()
	c := run(t, "busybox", testcontainers.WithCmd("sh", "-c", "echo done; exit 3"), testcontainers.WithWaitStrategy(wait.ForExit().WithExitTimeout(patience)))
	state, err := c.State(t.Context())
	if err != nil || state.ExitCode != 3 {
		t.Errorf("state %+v, %v", state, err)
	}
	logs, err := c.Logs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	if text, err := io.ReadAll(logs); err != nil || !strings.Contains(string(text), "done\n") {
		t.Errorf("logs %q %v", text, err)
	}
}

func TestExec(t *testing.T) {
	t.Parallel()
	c := run(t, "busybox", testcontainers.WithCmd("sleep", "1000"), testcontainers.WithEnv(map[string]string{"SEA": "north"}))
	code, output, err := c.Exec(t.Context(), []string{"sh", "-c", "echo $SEA $SHIP $PWD; exit 5"}, exec.WithEnv([]string{"SHIP=ark"}), exec.WithWorkingDir("/tmp"), exec.Multiplexed())
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(output); err != nil || code != 5 || string(text) != "north ark /tmp\n" {
		t.Errorf("%d %q %v", code, text, err)
	}
}

func TestNetworkWithAliases(t *testing.T) {
	t.Parallel()
	n, err := network.New(t.Context())
	testcontainers.CleanupNetwork(t, n)
	if err != nil {
		t.Fatal(err)
	}
	run(t, "redis", network.WithNetwork([]string{"store"}, n), testcontainers.WithWaitStrategy(wait.ForLog("Ready to accept connections").WithStartupTimeout(patience)))
	client := run(t, "redis", network.WithNetwork([]string{"client"}, n), testcontainers.WithCmd("sleep", "1000"))
	code, output, err := client.Exec(t.Context(), []string{"redis-cli", "-h", "store", "ping"}, exec.Multiplexed())
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(output); err != nil || code != 0 || string(text) != "PONG\n" {
		t.Errorf("%d %q %v", code, text, err)
	}
}

func TestReuse(t *testing.T) {
	t.Parallel()
	start := func() testcontainers.Container {
		return run(t, "redis", testcontainers.WithReuseByName("tcgo-reused"), testcontainers.WithExposedPorts("6379/tcp"), testcontainers.WithWaitStrategy(wait.ForListeningPort("6379/tcp").WithStartupTimeout(patience)))
	}
	if a, b := start(), start(); a.GetContainerID() != b.GetContainerID() {
		t.Errorf("%s and %s", a.GetContainerID(), b.GetContainerID())
	}
}

func TestStopAndStart(t *testing.T) {
	t.Parallel()
	c := run(t, "redis", testcontainers.WithExposedPorts("6379/tcp"), testcontainers.WithWaitStrategy(wait.ForListeningPort("6379/tcp").WithStartupTimeout(patience)))
	grace := 10 * time.Second
	if err := errors.Join(c.Stop(t.Context(), &grace), c.Start(t.Context())); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, c, "PING"); got != "+PONG" {
		t.Errorf("the answer is %q", got)
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	c := run(t, "busybox", testcontainers.WithCmd("sleep", "1000"))
	if err := c.CopyToContainer(t.Context(), []byte("dear\n"), "/tmp/letter", 0o600); err != nil {
		if strings.Contains(err.Error(), "does not have the copying of files") {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	file, err := c.CopyFileFromContainer(context.WithoutCancel(t.Context()), "/tmp/letter")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if text, err := io.ReadAll(file); err != nil || string(text) != "dear\n" {
		t.Errorf("%q %v", text, err)
	}
}
