package api

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the template and its style
	"encoding/base64"
	"fmt"
	"html"
	"html/template"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pb33f/go-yaml"
)

//go:embed docs.html
var docsTemplate string

//go:embed docs.css
var docsStyle string

// The parts of the document that the page shows.
type (
	docsDocument struct {
		Info struct {
			Title, Summary, Description string
		}
		Tags       []struct{ Name, Description string }
		Paths      ordered[ordered[yaml.Node]]
		Components docsComponents
	}
	docsComponents struct {
		Parameters ordered[docsParameter]
		Responses  ordered[docsResponse]
		Schemas    ordered[docsSchema]
	}
	docsOperation struct {
		Method, Path         string
		Tags                 []string
		OperationID          string `yaml:"operationId"`
		Summary, Description string
		Parameters           []docsParameter
		RequestBody          struct {
			Content ordered[docsMedia]
		} `yaml:"requestBody"`
		Responses ordered[docsResponse]
	}
	docsParameter struct {
		Ref                   string `yaml:"$ref"`
		Name, In, Description string
		Required              bool
		Schema                docsSchema
	}
	docsResponse struct {
		Ref         string `yaml:"$ref"`
		Description string
		Content     ordered[docsMedia]
	}
	docsMedia  struct{ Schema docsSchema }
	docsSchema struct {
		Ref         string `yaml:"$ref"`
		Type        words
		Description string
		Enum        []string
		Const       string
		Required    []string
		Properties  ordered[docsSchema]
		Items       *docsSchema
		OneOf       []docsSchema `yaml:"oneOf"`
		AllOf       []docsSchema `yaml:"allOf"`
	}
)

// ordered is a YAML mapping in its own order.
type ordered[T any] []named[T]

type named[T any] struct {
	Name  string
	Value T
}

// UnmarshalYAML implements [yaml.Unmarshaler].
func (o *ordered[T]) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		one := named[T]{Name: n.Content[i].Value}
		if err := n.Content[i+1].Decode(&one.Value); err != nil {
			return err
		}
		*o = append(*o, one)
	}
	return nil
}

func (o ordered[T]) find(ref string) T {
	name := ref[strings.LastIndex(ref, "/")+1:]
	for _, one := range o {
		if one.Name == name {
			return one.Value
		}
	}
	var none T
	return none
}

// words is one word or a list of them.
type words []string

// UnmarshalYAML implements [yaml.Unmarshaler].
func (w *words) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*w = words{n.Value}
		return nil
	}
	return n.Decode((*[]string)(w))
}

// docsPage makes the page of the document, and the policy that allows its style and nothing else.
func docsPage(root *yaml.Node) (page []byte, policy string, err error) {
	var doc docsDocument
	if err := root.Decode(&doc); err != nil {
		return nil, "", err
	}
	operations, err := doc.operations()
	if err != nil {
		return nil, "", err
	}
	parsed, err := template.New("docs").Funcs(template.FuncMap{
		"prose": prose, "typeOf": typeOf, "last": last, "status": statusText, "upper": strings.ToUpper,
		"parameter": func(p docsParameter) docsParameter {
			if p.Ref != "" {
				return doc.Components.Parameters.find(p.Ref)
			}
			return p
		},
		"response": func(r docsResponse) docsResponse {
			if r.Ref != "" {
				return doc.Components.Responses.find(r.Ref)
			}
			return r
		},
		"required": func(s docsSchema, name string) bool { return slices.Contains(s.Required, name) },
	}).Parse(docsTemplate)
	if err != nil {
		return nil, "", err
	}
	var out bytes.Buffer
	err = parsed.Execute(&out, map[string]any{
		"Doc": doc, "Operations": operations, "ScriptTag": scriptTagPlace, "Style": template.CSS(docsStyle), //nolint:gosec // our own file
	})
	sum := sha256.Sum256([]byte(docsStyle))
	return out.Bytes(), "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'", err
}

// operations lists the operations in the document's order.
func (d *docsDocument) operations() ([]docsOperation, error) {
	var all []docsOperation
	for _, path := range d.Paths {
		for _, method := range path.Value {
			op := docsOperation{Method: strings.ToUpper(method.Name), Path: path.Name}
			if err := method.Value.Decode(&op); err != nil {
				return nil, fmt.Errorf("%s %s: %w", method.Name, path.Name, err)
			}
			all = append(all, op)
		}
	}
	return all, nil
}

// typeOf names a schema's type in a few words, with a link to the schema if it has a name.
func typeOf(s docsSchema) template.HTML {
	switch {
	case s.Ref != "":
		name := html.EscapeString(last(s.Ref))
		return template.HTML(`<a href="#schema-` + name + `">` + name + `</a>`) //nolint:gosec // escaped above
	case s.Items != nil:
		return "list of " + typeOf(*s.Items)
	case len(s.OneOf) > 0:
		var parts []string
		for _, one := range s.OneOf {
			parts = append(parts, string(typeOf(one)))
		}
		return template.HTML(strings.Join(parts, " or ")) //nolint:gosec // made of escaped parts
	case s.Const != "":
		return template.HTML("<code>" + html.EscapeString(s.Const) + "</code>") //nolint:gosec // escaped
	case len(s.Enum) > 0:
		var parts []string
		for _, one := range s.Enum {
			parts = append(parts, "<code>"+html.EscapeString(one)+"</code>")
		}
		return template.HTML(strings.Join(parts, " ")) //nolint:gosec // escaped
	}
	return template.HTML(html.EscapeString(strings.Join(s.Type, " or "))) //nolint:gosec // escaped
}

var codeSpan = regexp.MustCompile("`([^`]+)`")

// prose makes paragraphs of a description, and code of what stands between backticks.
func prose(text string) template.HTML {
	var out strings.Builder
	for paragraph := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		if paragraph != "" {
			out.WriteString("<p>" + codeSpan.ReplaceAllString(html.EscapeString(paragraph), "<code>$1</code>") + "</p>")
		}
	}
	return template.HTML(out.String()) //nolint:gosec // escaped above
}

func last(ref string) string { return ref[strings.LastIndex(ref, "/")+1:] }

func statusText(code string) string {
	number, _ := strconv.Atoi(code) // what is no number has no text
	return http.StatusText(number)
}
