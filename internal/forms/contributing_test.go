// SPDX-License-Identifier: Apache-2.0

package forms

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestContributing compiles the producer that CONTRIBUTING.md adds as an example,
// registered as it says, and reads evidence with it.
func TestContributing(t *testing.T) {
	guide, err := os.ReadFile("../../CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	_, code, ok := strings.Cut(string(guide), "```go\n")
	code, _, ok2 := strings.Cut(code, "```\n")
	if !ok || !ok2 {
		t.Fatal("the guide shows no code")
	}
	list, err := os.ReadFile("readers.go")
	if err != nil {
		t.Fatal(err)
	}
	registered := strings.Replace(string(list), "\tcollectionReader,\n", "\tghVerifyReader,\n\tcollectionReader,\n", 1)
	if registered == string(list) {
		t.Fatal("the list of readers looks different")
	}
	const check = `package forms

import "testing"

func TestExampleReader(t *testing.T) {
	two := []byte("[{\"attestation\":{\"bundle\":{\"mediaType\":\"x\"}}},{\"attestation\":{\"bundle\":{}}}]")
	form, out := Read(Source{Path: "x", Data: two})
	if len(out) != 2 || form != "output of gh attestation verify" || out[0].Err == nil || out[1].Item != 2 {
		t.Fatalf("%+v", out)
	}
	if _, out = Read(Source{Path: "x", Data: []byte("[{\"attestation\":{}}]")}); len(out) != 1 || out[0].Err == nil {
		t.Fatalf("%+v", out)
	}
}
`
	dir := t.TempDir()
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	overlay := map[string]map[string]string{"Replace": {}}
	for name, text := range map[string]string{"ghverify.go": code, "readers.go": registered,
		"ghverify_test.go": check} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay["Replace"][filepath.Join(here, name)] = path
	}
	data, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "test", "-overlay", file, "-run", "^TestExampleReader$", "-v", ".").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestExampleReader") {
		t.Errorf("%v\n%s", err, out)
	}
}
