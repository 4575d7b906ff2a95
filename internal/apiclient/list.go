package apiclient

import (
	"context"
	"iter"
	"maps"
	"net/url"
	"strconv"
)

// pageSize is how many entries one request of a list asks for.
const pageSize = 200

// List walks through a list of the API, page by page, up to limit entries (0: all). T is what an
// entry is decoded into, such as [Payment], or json.RawMessage for the entry as it is. It ends after
// the first error.
func List[T any](ctx context.Context, c *Client, path string, query url.Values, limit int) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		query := maps.Clone(query)
		if query == nil {
			query = url.Values{}
		}
		for left := limit; ; {
			size := pageSize
			if limit > 0 {
				size = min(size, left)
			}
			query.Set("limit", strconv.Itoa(size))
			var page struct {
				Data       []T     `json:"data"`
				NextCursor *string `json:"next_cursor"`
			}
			if err := c.Get(ctx, path, query, &page); err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, entry := range page.Data {
				if !yield(entry, nil) {
					return
				}
			}
			left -= len(page.Data)
			if page.NextCursor == nil || limit > 0 && left <= 0 {
				return
			}
			query.Set("cursor", *page.NextCursor)
		}
	}
}
