// Command api is the service in the middle of the stack that the tests start (../../stack_test.go): it answers each
// request with the number of the row that it has written to its database for it. It is linked statically, so that its
// image holds nothing else.
package main

import (
	"database/sql"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"

	_ "github.com/lib/pq" // the driver "postgres"
)

// connections is how many go to the database at most.
const connections = 4

func main() {
	log.SetOutput(os.Stdout)
	if err := serve(); err != nil {
		log.Fatal(err)
	}
}

// serve makes its table and answers until it fails; whoever started it starts it again when the database is not there
// yet.
func serve() (err error) {
	db, err := sql.Open("postgres", os.Getenv("DATABASE"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	// As services do, it keeps its connections: names are not answered while the daemon is away.
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	if _, err := db.Exec("CREATE TABLE IF NOT EXISTS visits (id SERIAL PRIMARY KEY, path TEXT NOT NULL)"); err != nil {
		return err
	}
	log.Print("the API listens")
	return http.ListenAndServe(":8080", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var id int
		if err := db.QueryRowContext(r.Context(), "INSERT INTO visits (path) VALUES ($1) RETURNING id", r.URL.Path).Scan(&id); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		fmt.Fprintf(w, "visit %d\n", id)
	}))
}
