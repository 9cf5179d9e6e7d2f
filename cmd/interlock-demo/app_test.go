package main

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestPingAnswersAsDocumented(t *testing.T) {
	a := newApp(identity{Instance: "897d3c7b9e9c", Version: "0.1", Metadata: "demo"})
	d := serve(t, a, drainLimit)
	response, body := d.get(t, "/ping", http.Header{"X-Request-Id": {"e4180a8fc6ee15f8d46f11df67c24a7d"}})

	want := `{"instance":"897d3c7b9e9c","version":"0.1","metadata":"demo",` +
		`"request_id":"e4180a8fc6ee15f8d46f11df67c24a7d"}` + "\n"
	if body != want {
		t.Errorf("/ping answered %q, want %q", body, want)
	}
	if response.StatusCode != http.StatusOK {
		t.Errorf("the status is %s, want 200", response.Status)
	}
	if got := response.Header.Get("Content-Type"); got != "text/plain; charset=utf-8" {
		t.Errorf("the content type is %q", got)
	}
	if response.ContentLength != int64(len(want)) {
		t.Errorf("the content length is %d, want %d", response.ContentLength, len(want))
	}
}

func TestWhatIsPostedIsReadBeforeTheAnswer(t *testing.T) {
	d := serve(t, newApp(identity{Instance: "897d3c7b9e9c"}), drainLimit)
	for content, want := range map[int]int{500: http.StatusOK, maxPosted + 1: http.StatusBadRequest} {
		response, err := http.Post("http://"+d.address+"/ping", "text/plain", strings.NewReader(strings.Repeat("x", content)))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%d bytes were answered with %s, want %d", content, response.Status, want)
		}
	}
}

func TestANewClientGetsASessionForADay(t *testing.T) {
	before := time.Now()
	response, _ := start(t, nil).get(t, "/ping", nil)
	after := time.Now()

	cookies := response.Cookies()
	if len(cookies) != 1 {
		t.Fatalf("got %d cookies, want 1: %v", len(cookies), response.Header["Set-Cookie"])
	}
	cookie := cookies[0]
	value, err := strconv.ParseInt(cookie.Value, 10, 64)
	if err != nil || value < before.UnixNano() || value > after.UnixNano() {
		t.Errorf("the value is %q, want a time in nanoseconds between %d and %d", cookie.Value, before.UnixNano(), after.UnixNano())
	}
	if cookie.Name != "session" || cookie.Path != "/" || cookie.MaxAge != 86400 {
		t.Errorf("the cookie is %v, want session with Path=/ and Max-Age=86400", cookie)
	}
	earliest, latest := before.Add(24*time.Hour-time.Second), after.Add(24*time.Hour)
	if cookie.Expires.Before(earliest) || cookie.Expires.After(latest) {
		t.Errorf("the cookie expires %v, want in 24 hours", cookie.Expires)
	}
}

func TestAClientKeepsItsSession(t *testing.T) {
	response, _ := start(t, nil).get(t, "/ping", http.Header{"Cookie": {"session=1510328320174129112"}})
	if got := response.Header["Set-Cookie"]; got != nil {
		t.Errorf("a client with a session got another one: %v", got)
	}
}

func TestSlowAnswersAfterTheTimeGiven(t *testing.T) {
	const wait = 150 * time.Millisecond
	d := start(t, nil)
	asked := time.Now()
	response, body := d.get(t, "/slow?for="+wait.String(), nil)
	if took := time.Since(asked); took < wait {
		t.Errorf("the answer came after %v, want %v or more", took, wait)
	}
	if response.StatusCode != http.StatusOK || !strings.Contains(body, `"instance"`) {
		t.Errorf("/slow answered %s %q, want what /ping answers", response.Status, body)
	}
}

func TestSlowRefusesWhatIsNoDurationUpToAMinute(t *testing.T) {
	d := start(t, nil)
	for _, query := range []string{"", "?for=", "?for=8", "?for=soon", "?for=-1s", "?for=61s", "?for=9999999h"} {
		response, body := d.get(t, "/slow"+query, nil)
		if response.StatusCode != http.StatusBadRequest || !strings.Contains(body, "0s to 1m0s") {
			t.Errorf("/slow%s answered %s %q, want 400 and the range", query, response.Status, body)
		}
	}
}

func TestThePageNeedsNothingButThisApp(t *testing.T) {
	d := start(t, map[string]string{"METADATA": `<b>"demo"</b>`, "VERSION": "3.2"})
	response, body := d.get(t, "/", nil)
	if got := response.Header.Get("Content-Type"); got != "text/html; charset=utf-8" {
		t.Errorf("the content type is %q", got)
	}
	if outside := regexp.MustCompile(`(https?:)?//[a-z0-9.-]+\.[a-z]+`).FindString(body); outside != "" {
		t.Errorf("the page refers to %s", outside)
	}
	if got := response.Header.Get("Content-Security-Policy"); !strings.Contains(got, "default-src 'none'") {
		t.Errorf("the page may load from anywhere: %q", got)
	}
	for _, want := range []string{"&lt;b&gt;", "version 3.2", `fetch("ping"`} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func TestThePagesScriptIsAllowedToRun(t *testing.T) {
	response, body := start(t, nil).get(t, "/", nil)
	nonce := regexp.MustCompile(`<script nonce="([^"]+)">`).FindStringSubmatch(body)
	if nonce == nil {
		t.Fatal("the page's script has no nonce")
	}
	if policy := response.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "script-src 'nonce-"+nonce[1]+"'") {
		t.Errorf("the policy %q does not allow the nonce %s", policy, nonce[1])
	}
}

func TestOtherPathsAreNotFound(t *testing.T) {
	response, _ := start(t, nil).get(t, "/elsewhere", nil)
	if response.StatusCode != http.StatusNotFound {
		t.Errorf("the status is %s, want 404", response.Status)
	}
}
