// Package bundle builds the page scripts in web/dist from their TypeScript sources, with esbuild as a library, so that
// neither building nor running the relay needs Node.
package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/evanw/esbuild/pkg/api"
)

// Build bundles the sources in folder and returns the finished files by name. The same sources give the same bytes.
func Build(folder string) (map[string][]byte, error) {
	types, err := fs.ReadFile(os.DirFS(folder), "relay.d.ts")
	if err != nil {
		return nil, fmt.Errorf("read types: %w", err)
	}
	files := map[string][]byte{"relay.d.ts": types}
	for name, entry := range map[string]struct {
		source string
		format api.Format
	}{
		"relay.js":  {"classic.ts", api.FormatIIFE},
		"relay.mjs": {"module.ts", api.FormatESModule},
	} {
		if files[name], err = script(filepath.Join(folder, entry.source), entry.format); err != nil {
			return nil, fmt.Errorf("build %s: %w", name, err)
		}
	}
	return files, nil
}

func script(entry string, format api.Format) ([]byte, error) {
	entry, err := filepath.Abs(entry)
	if err != nil {
		return nil, err
	}
	result := api.Build(api.BuildOptions{
		EntryPoints: []string{entry},
		Bundle:      true,
		Format:      format,
		Target:      api.ES2021,
		Charset:     api.CharsetUTF8, // Arabic as escapes would not fit the size limit
		MangleProps: "^_",
		// snippet/tsconfig.json is for the type checker; classes as ES2020 knows them are smaller
		TsconfigRaw:       `{"compilerOptions":{"useDefineForClassFields":false}}`,
		MinifyWhitespace:  true,
		MinifyIdentifiers: true,
		MinifySyntax:      true,
		LegalComments:     api.LegalCommentsNone,
		LogLevel:          api.LogLevelSilent,
	})
	for _, m := range append(result.Errors, result.Warnings...) {
		err = errors.Join(err, errors.New(where(m)+m.Text))
	}
	if err != nil {
		return nil, err
	}
	return result.OutputFiles[0].Contents, nil
}

func where(m api.Message) string {
	if m.Location == nil {
		return ""
	}
	return fmt.Sprintf("%s:%d: ", filepath.Base(m.Location.File), m.Location.Line)
}
