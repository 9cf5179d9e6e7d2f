package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/interlock-lb/interlock/internal/core"
)

// becomes marks the process of this test that is to become nginx.
const becomes = "INTERLOCK_TEST_BECOMES_NGINX"

func TestWithoutAnAgentTheProcessBecomesNginx(t *testing.T) {
	if os.Getenv(becomes) != "" {
		environ := []string{core.EnvAgent + "=" + core.NoAgent, core.EnvConfigPath + "=/etc/nginx/lb.conf"}
		t.Fatalf("it ended with %d", Main(t.Context(), []string{"proxy", "nginx"}, environ, os.Stdin, os.Stdout, os.Stderr))
	}
	folder := t.TempDir()
	script := "#!/bin/sh\necho \"$0 $*\"\n"
	if err := os.WriteFile(filepath.Join(folder, "nginx"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), becomes+"=1", "PATH="+folder+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if want := folder + `/nginx -c /etc/nginx/lb.conf -e stderr -g daemon off;`; err != nil || strings.TrimSpace(string(out)) != want {
		t.Errorf("got %v, %q; want %q", err, out, want)
	}
}
