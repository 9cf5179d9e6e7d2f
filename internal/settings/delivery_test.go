package settings_test

import "testing"

func TestTheProxyImagesNameDecidesUnlessTheOperatorDoes(t *testing.T) {
	for image, want := range map[string]bool{
		"interlock-proxy:1.0":                           true,
		"registry.example.com:5000/edge/interlock-lb:2": true,
		"interlock-proxy@sha256:0123456789012345678901234567890123456789012345678901234567890123": true,
		"nginx:alpine":                         false,
		"nginx:interlock":                      false,
		"haproxy":                              false,
		"interlock.example.com/library/nginx":  false,
		"registry.example.com/interlock/nginx": false,
	} {
		file := "[Extensions.default]\nImage = \"e:1\"\nProxyImage = \"" + image + "\"\n"
		if e := parse(t, file).Extensions[0]; e.Hitless() != want {
			t.Errorf("%s: hitless is %t, want %t", image, e.Hitless(), want)
		}
		for _, said := range []bool{true, false} {
			word := map[bool]string{true: "true", false: "false"}[said]
			if e := parse(t, file+"HitlessServiceUpdate = "+word+"\n").Extensions[0]; e.Hitless() != said {
				t.Errorf("%s: HitlessServiceUpdate = %s is not obeyed", image, word)
			}
		}
	}
}
