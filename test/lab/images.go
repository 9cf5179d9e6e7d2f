package lab

import (
	"context"
	"fmt"
	"strings"
)

// Registry is where the nodes pull images from and this machine can push to, as
// "address:port", without TLS.
func (l *Lab) Registry() string { return l.fabric.registry() }

// Image is the name by which the nodes pull an image that was pushed as name.
// Names without a slash also work as they are.
func (l *Lab) Image(name string) string { return l.Registry() + "/" + name }

// Builder is the node whose engine images are built or loaded on.
func (l *Lab) Builder() *Node { return l.Managers()[0] }

// PushImages pushes images that the builder's engine has, such as
// "interlock-demo:dev", to the lab's registry.
func (l *Lab) PushImages(ctx context.Context, images ...string) error {
	for _, image := range images {
		names := []string{l.Image(image)}
		if !strings.Contains(image, "/") {
			// What a name without a slash stands for, at the registry's mirror.
			names = append(names, l.Image("library/"+image))
		}
		for _, name := range names {
			if err := l.push(ctx, image, name); err != nil {
				return fmt.Errorf("push image %s: %w", image, err)
			}
		}
	}
	return nil
}

func (l *Lab) push(ctx context.Context, image, name string) error {
	if _, err := l.Builder().Docker(ctx, "tag", image, name); err != nil {
		return err
	}
	_, err := l.Builder().Docker(ctx, "push", "--quiet", name)
	return err
}
