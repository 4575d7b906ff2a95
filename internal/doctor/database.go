package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/dollr-relay/dollr-relay/internal/secret"
	"github.com/dollr-relay/dollr-relay/relay/store"
)

func checkDatabase(ctx context.Context, address secret.Value) Finding {
	f := Finding{Name: "database"}
	path, file := strings.CutPrefix(address.Reveal(), "sqlite:")
	if file {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return checkFolder(filepath.Dir(path))
		}
	}
	s, err := store.Open(ctx, address.Reveal(), store.Options{AsItIs: true})
	switch {
	case errors.Is(err, store.ErrInUse):
		f.OK, f.Saw = true, "in use by a running relay"
		return f
	case err == nil:
		err = errors.Join(s.MayServe(ctx), s.Close())
	}
	if err == nil {
		f.OK, f.Saw = true, "opens and takes transactions"
		return f
	}
	f.Saw, f.Means = err.Error(), nothingKept
	f.Do = "check RELAY_DATABASE_URL: that the server is up and reachable, its user, password and database right, that it lets this machine in, and that it is the primary, in which this user may make tables"
	if file {
		f.Do = "check RELAY_DATABASE_URL: that it names an SQLite file which this user may write, on a local disk with room"
	}
	return f
}

// checkFolder sees whether a database that is not there yet can be made.
func checkFolder(folder string) Finding {
	f := Finding{Name: "database", OK: true, Saw: "does not exist yet; serve will make it"}
	err := unix.Access(folder, unix.W_OK|unix.X_OK)
	if err != nil {
		f.OK, f.Saw = false, "does not exist, and its folder "+folder+" takes no file: "+err.Error()
		f.Means, f.Do = nothingKept, "make the folder, or give it to the user of the relay, or correct RELAY_DATABASE_URL"
	}
	return f
}
