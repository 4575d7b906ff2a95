package forward

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/dollr-relay/dollr-relay/relay/callback"
)

// Secret returns the text of the secret that signs what is forwarded, and the file that keeps it
// between runs; the first call makes both. Only its owner can read the file.
func Secret(folder string) (text, path string, err error) {
	path = filepath.Join(folder, "listen.secret")
	kept, err := os.ReadFile(path) //nolint:gosec // the user's own configuration folder
	if errors.Is(err, fs.ErrNotExist) {
		return newSecret(folder, path)
	}
	if err != nil {
		return "", path, fmt.Errorf("read the secret for forwarding: %w", err)
	}
	text = strings.TrimSpace(string(kept))
	if _, err := callback.ParseSecret(text); err != nil {
		return "", path, fmt.Errorf("%s holds no secret (%w); delete it, and a new one is made", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return "", path, fmt.Errorf("keep the secret for forwarding to its owner: %w", err)
	}
	return text, path, nil
}

func newSecret(folder, path string) (string, string, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", path, fmt.Errorf("make the folder for forwarding: %w", err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // the user's own configuration folder
	if errors.Is(err, fs.ErrExist) {                                         // another command was faster
		return Secret(folder)
	}
	if err != nil {
		return "", path, fmt.Errorf("keep the secret for forwarding: %w", err)
	}
	text := callback.NewSecretText()
	_, err = file.WriteString(text + "\n")
	if err = errors.Join(err, file.Close()); err != nil {
		return "", path, fmt.Errorf("keep the secret for forwarding: %w", err)
	}
	return text, path, nil
}
