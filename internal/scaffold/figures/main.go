// SPDX-License-Identifier: Apache-2.0

// Command figures prints what verifying costs, beside what it did when sigstore-go verified:
// sizes, modules, start, one bundle beside cosign and gh, many bundles, long chains. It takes
// some ten minutes; a quiet machine and the programs it builds are all it needs.
//
//	[COSIGN=FILE] [GH=FILE] [REPOPOLICY_PEERS=1] go run ./internal/scaffold/figures [ROW]
//
// COSIGN and GH name programs to compare with; REPOPOLICY_PEERS lets those without a name be built, which
// takes minutes. Times are medians of runs in turns, on one core where taskset is at hand. With ROW only
// rows whose name, or that of the row that they belong to, has it are measured.
package main

import (
	"bufio"
	"bytes"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// row is one line of the table.
type row struct {
	name   string
	before string // with sigstore-go v1.3.0 and Go 1.26, measured in the same ways
	goal   string
	now    func() (string, error)
}

func main() {
	if err := run(strings.Join(os.Args[1:], " ")); err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		os.Exit(1)
	}
}

func run(only string) error {
	dir, err := os.MkdirTemp("", "figures")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	m := &measure{dir: dir, metrics: map[string]map[string]float64{}}
	fmt.Printf("%-44s %-16s %-16s %s\n", "", "before", "goal", "now")
	failed, of := false, ""
	for _, r := range m.rows() {
		if !strings.HasPrefix(r.name, " ") {
			of = r.name
		}
		if !strings.Contains(of+r.name, only) {
			continue
		}
		now, err := r.now()
		if err != nil {
			now = "not measured: " + err.Error()
			failed = failed || !errors.Is(err, errNoPeer)
		}
		fmt.Printf("%-44s %-16s %-16s %s\n", r.name, r.before, r.goal, now)
	}
	if failed {
		return errors.New("not every row was measured")
	}
	return nil
}

// errNoPeer is why a figure beside a program that is not at hand is left out.
var errNoPeer = errors.New("no program to compare with")

// measure runs what is measured once, however many rows want of it.
type measure struct {
	dir     string
	metrics map[string]map[string]float64 // by benchmark and unit
}

const (
	program = "github.com/repopolicy/repopolicy/cmd/repopolicy"
	library = "github.com/repopolicy/repopolicy"
)

func (m *measure) rows() []row {
	process := func(unit, format string) func() (string, error) {
		return m.benchmark("./cmd/repopolicy", "Process", "40x", 1, unit, format)
	}
	lines := func(name, unit string) func() (string, error) {
		return m.benchmark("./cmd/repopolicy", name, "1x", 2, unit, "%.0f")
	}
	first := func(unit string) func() (string, error) { return func() (string, error) { return m.first(unit) } }
	return []row{
		{"verify one bundle, ms", "14.5", "", process("repopolicy-ms", "%.1f")},
		{"  of cosign's time", "0.47-0.50", "0.28", process("x-cosign", "%.2f")},
		{"  of gh's time, a file with provenance", "0.24", "", process("x-gh", "%.2f")},
		{"  of sigstore-go's smallest program's", "1.07", "", process("x-minimal", "%.2f")},
		{"  resident, MiB", "22-26", "14", process("repopolicy-MiB", "%.1f")},
		{"refuse, of cosign's time", "0.41", "0.20", process("x-cosign-refuse", "%.2f")},
		{"version, ms", "8.6", "4", process("repopolicy-version-ms", "%.1f")},
		{"package initialisers", "308", "", m.initialisers("count")},
		{"  ms in all", "4.7-6.1", "", m.initialisers("ms")},
		{"modules in the program", "97", "40", m.modules},
		{"modules of the library but for Git and OCI", "", "25", m.libraryModules},
		{"size, MB, -s -w", "21.2", "14", m.size("-trimpath", "-ldflags=-s -w")},
		{"size, MB, go install", "39", "21", m.size()},
		{"a distinct bundle, of its signatures", "2.3", "1.35",
			m.benchmark("./internal/sigstore", "Distinct", "10x", 1, "x", "%.2f")},
		{"distinct bundles, two cores over one", "1.60", "1.9", m.cores},
		{"100,000 lines of a checksum file, ms", "refused", "", lines("Lines/100000", "ms")},
		{"  resident, MiB", "", "", lines("Lines/100000", "MiB")},
		{"10,000 files in one statement, ms", "refused", "", lines("Subjects", "ms")},
		{"  resident, MiB", "", "", lines("Subjects", "MiB")},
		{"first verdict by address, requests", "", "6", m.benchmark("sandbox/e2e", "First", "5x", 2, "requests", "%.0f")},
		{"  with trust root, proofs and redirects", "", "", first("requests")},
		{"  connections", "", "", first("connections")},
		{"  ms, each answer 80 late", "", "", first("ms")},
		{"files under one bundle, of SHA-256's speed", "72 %", "92 %",
			m.benchmark("./internal/release", "SumsUnderOneBundle", "5x", 2, "%-of-sha256", "%.0f %%")},
		{"a file of 256 MiB, of SHA-256's speed", "79-84 %", "92 %",
			m.benchmark("./internal/release", "LargeUnderOneBundle", "5x", 2, "%-of-sha256", "%.0f %%")},
		{"files under one bundle, of read and SHA-256", "", "",
			m.benchmark("./internal/release", "SumsUnderOneBundle", "5x", 2, "%-of-read-and-sha256", "%.0f %%")},
		{"chain of 1,000 versions, s on two cores", "1.9-3.4", "1.2", m.chain},
		{"  resident, MiB, of the whole program", "92-125", "64",
			m.benchmark("./cmd/repopolicy", "LongChain/1000", "5x", 2, "MiB", "%.0f")},
	}
}

// command runs one in the module's directory. Its error has the first line that a test prints about
// itself, or the last line of all.
func command(name string, args ...string) ([]byte, error) {
	cmd := exec.Command(name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)+stderr.String()), "\n")
		why := lines[len(lines)-1]
		if i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "    ") }); i >= 0 {
			why = strings.TrimSpace(lines[i])
		}
		return out, fmt.Errorf("%s: %w: %s", name, err, why)
	}
	return out, nil
}

// benchmark returns the median of a unit over three runs of one benchmark.
func (m *measure) benchmark(pkg, name, times string, cores int, unit, format string) func() (string, error) {
	return func() (string, error) {
		if m.metrics[name] == nil {
			args := []string{
				"test", "-C", filepath.Dir(pkg), "./" + filepath.Base(pkg), "-run", "^$", "-benchtime", times, "-count", "3",
				"-bench", "^Benchmark" + strings.ReplaceAll(name, "/", "$/^") + "$", "-timeout", "30m", "-cpu", strconv.Itoa(cores),
			}
			if _, err := exec.LookPath("taskset"); err == nil && cores == 1 {
				args = append(args, "-exec", "taskset -c 0")
			}
			out, err := command("go", args...)
			if err != nil {
				return "", err
			}
			m.metrics[name] = readMetrics(out)
		}
		v, ok := m.metrics[name][unit]
		if ok {
			return fmt.Sprintf(format, v), nil
		}
		for peer, env := range map[string]string{"cosign": "COSIGN", "gh": "GH"} {
			if strings.Contains(unit, peer) && os.Getenv(env) == "" && os.Getenv("REPOPOLICY_PEERS") == "" {
				return "", fmt.Errorf("%w: %s names none", errNoPeer, env)
			}
		}
		return "", fmt.Errorf("the benchmark %s of %s says nothing of %s", name, pkg, unit)
	}
}

// number is what [measure.benchmark] returns, as one.
func number(text string, err error) (float64, error) {
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(text, 64)
}

// cores compares how many bundles are judged in a second by two cores and by one, beside how many bytes are
// hashed: other work on the machine holds up both.
func (m *measure) cores() (string, error) {
	ratio := func(name, times, unit string) (float64, error) {
		var speed [3]float64
		for n := 1; n <= 2; n++ {
			delete(m.metrics, name)
			var err error
			if speed[n], err = number(m.benchmark("./internal/release", name, times, n, unit, "%f")()); err != nil {
				return 0, err
			}
		}
		return speed[2] / speed[1], nil
	}
	bundles, err := ratio("DistinctBundles", "5x", "bundles/s")
	if err != nil {
		return "", err
	}
	plain, err := ratio("SHA256", "1s", "MB/s")
	return fmt.Sprintf("%.2f, of SHA-256 %.2f", bundles, plain), err
}

// first is a figure of the first verdict on a file of a release, beside who is told who signs and asks less:
// with a trust root at hand, and by TUF. gh knows no other TUF repository than its own.
func (m *measure) first(unit string) (string, error) {
	var out []string
	for _, name := range []string{"repopolicy-rooted", "cosign-rooted", "gh-rooted", "repopolicy", "cosign"} {
		v, err := m.benchmark("sandbox/e2e", "First", "5x", 2, name+"-"+unit, "%.0f")()
		if err != nil && !errors.Is(err, errNoPeer) {
			return "", err
		} else if err == nil {
			out = append(out, v+" "+name)
		}
	}
	return strings.Join(out, ", "), nil
}

// chain is the time of one resolution, cold.
func (m *measure) chain() (string, error) {
	ns, err := number(m.benchmark("./internal/bindings", "Resolve1000", "3x", 2, "ns/op", "%f")())
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%.2f", ns/1e9), nil
}

// readMetrics returns the medians of what a benchmark printed, by unit.
func readMetrics(out []byte) map[string]float64 {
	all := map[string][]float64{}
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		for i := 2; i+1 < len(fields); i += 2 {
			if v, err := strconv.ParseFloat(fields[i], 64); err == nil {
				all[fields[i+1]] = append(all[fields[i+1]], v)
			}
		}
	}
	medians := map[string]float64{}
	for unit, v := range all {
		slices.Sort(v)
		medians[unit] = v[len(v)/2]
	}
	return medians
}

// build returns the path of the program, built with some flags.
func (m *measure) build(flags ...string) (string, error) {
	out := filepath.Join(m.dir, fmt.Sprintf("repopolicy%d", len(flags)))
	if _, err := os.Stat(out); err == nil {
		return out, nil
	}
	_, err := command("go", append(append([]string{"build", "-buildvcs=false"}, flags...), "-o", out, program)...)
	return out, err
}

func (m *measure) size(flags ...string) func() (string, error) {
	return func() (string, error) {
		path, err := m.build(flags...)
		if err != nil {
			return "", err
		}
		info, err := os.Stat(path)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%.1f", float64(info.Size())/1e6), nil
	}
}

func (m *measure) modules() (string, error) {
	path, err := m.build()
	if err != nil {
		return "", err
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return "", err
	}
	return strconv.Itoa(len(info.Deps)), nil
}

// libraryModules counts the modules that the library links when nothing of Git and of
// registries is.
func (m *measure) libraryModules() (string, error) {
	out, err := command("go", "list", "-deps", "-f",
		`{{.ImportPath}},{{with .Module}}{{.Path}}{{end}},{{join .Imports ","}}`, library)
	if err != nil {
		return "", err
	}
	without := linked(string(out), library+"/internal/git", library+"/internal/oci", library+"/internal/trust/oci")
	return fmt.Sprintf("%d, with these %d", len(without), len(linked(string(out)))), nil
}

// linked returns the modules that the library links without some packages and what only these import. The
// list has a line for each package, of its path, its module and its imports, with commas between.
func linked(list string, skip ...string) map[string]bool {
	imports, module := map[string][]string{}, map[string]string{}
	for line := range strings.Lines(list) {
		fields := strings.Split(strings.TrimSpace(line), ",")
		imports[fields[0]], module[fields[0]] = fields[2:], fields[1]
	}
	modules, seen := map[string]bool{}, map[string]bool{}
	var walk func(pkg string)
	walk = func(pkg string) {
		if seen[pkg] || slices.Contains(skip, pkg) {
			return
		}
		seen[pkg] = true
		if p := module[pkg]; p != "" && p != library {
			modules[p] = true
		}
		for _, i := range imports[pkg] {
			walk(i)
		}
	}
	walk(library)
	return modules
}

var initialiser = regexp.MustCompile(`(?m)^init \S+ @[\d.]+ ms, ([\d.]+) ms clock`)

// initialisers runs the program with the runtime's trace of them (GODEBUG=inittrace=1).
func (m *measure) initialisers(what string) func() (string, error) {
	return func() (string, error) {
		path, err := m.build("-trimpath", "-ldflags=-s -w")
		if err != nil {
			return "", err
		}
		cmd := exec.Command(path, "version")
		cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Run(); err != nil {
			return "", err
		}
		found, sum := initialiser.FindAllStringSubmatch(stderr.String(), -1), 0.0
		for _, f := range found {
			ms, err := strconv.ParseFloat(f[1], 64)
			if err != nil {
				return "", err
			}
			sum += ms
		}
		if what == "count" {
			return strconv.Itoa(len(found)), nil
		}
		return fmt.Sprintf("%.1f", sum), nil
	}
}
