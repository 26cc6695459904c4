package variant

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"connbench/harness/explain"
	"connbench/harness/naming"
)

// Languages are those for which [Template] finds a variant.
func Languages(all []Variant) (names []string) {
	for _, v := range all {
		if v.Template {
			names = append(names, strings.ToLower(v.Language))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Template is the variant that a new one in a language begins as.
func Template(all []Variant, language string) (Variant, error) {
	for _, v := range all {
		if v.Template && strings.EqualFold(v.Language, language) {
			return v, nil
		}
	}
	return Variant{}, explain.Hint(fmt.Errorf("there is no template for language %q", language),
		"take one of %s, or copy any variant with --from", strings.Join(Languages(all), ", "))
}

// Lines of a variant.toml that are another variant's own.
var (
	nameLine     = regexp.MustCompile(`(?m)^name = .*$`)
	titleLine    = regexp.MustCompile(`(?m)^title = .*$`)
	templateLine = regexp.MustCompile(`(?m)^template = .*\n`)
)

// Create makes the variant name beside original, as a copy of it that builds, passes the
// gate and is measured as it stands. It returns the new folder.
func Create(servers string, original Variant, name string) (folder string, err error) {
	if err := naming.Check("name", name); err != nil {
		return "", err
	}
	folder = filepath.Join(servers, name)
	if _, err := os.Lstat(folder); err == nil {
		return folder, explain.Hint(fmt.Errorf("%s is there already", folder), "take another name, or remove it")
	}
	if err := os.CopyFS(folder, os.DirFS(original.Folder)); err != nil {
		return folder, err
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return folder, err
	}
	for _, file := range append(files, filepath.Join(folder, File)) {
		text, err := os.ReadFile(file)
		if err != nil {
			return folder, err
		}
		changed := strings.ReplaceAll(string(text), "// Command "+original.Name+" ", "// Command "+name+" ")
		if filepath.Base(file) == File {
			changed = nameLine.ReplaceAllLiteralString(changed, fmt.Sprintf("name = %q", name))
			changed = titleLine.ReplaceAllLiteralString(changed, fmt.Sprintf("title = %q", name))
			changed = templateLine.ReplaceAllLiteralString(changed, "")
		}
		if err := os.WriteFile(file, []byte(changed), 0o644); err != nil {
			return folder, err
		}
	}
	return folder, nil
}
