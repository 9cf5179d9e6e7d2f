package settings

// key is one key of a table of the file: all that reading and documentation
// need to know of it.
type key[T any] struct {
	name string
	// takes names the kind of its values, standard the value that an absent
	// key has; both as the documentation shows them.
	takes, standard string
	meaning         string
	required        bool
	// example is a literal that the message about a missing key shows.
	example string
	// void says why the key has no effect; empty where it has one.
	void string
	// pending are the kinds of proxies for which the key has no effect in this
	// version yet; the landing of its effect takes it out.
	pending proxies
	// proxies are the kinds of proxies that use the key; empty: not known to
	// matter, as for all keys outside of Config.
	proxies proxies
	read    func(in *input, v *node, into *T)
}

// field is a key whose value goes to a field of T.
func field[T, V any](name string, k kind[V], at func(*T) *V, standard, meaning string) key[T] {
	return key[T]{
		name: name, takes: k.name, standard: standard, meaning: meaning, example: k.example,
		read: func(in *input, v *node, into *T) {
			if value, ok := k.read(in, v); ok {
				*at(into) = value
			}
		},
	}
}

func required[T any](k key[T]) key[T] {
	k.required = true
	return k
}

func void[T any](k key[T], why string) key[T] {
	k.void = why
	return k
}

func pending[T any](on proxies, k key[T]) key[T] {
	k.pending = on
	return k
}

// options is what [Extensions.NAME.Config] becomes.
type options map[string]any

// option is a key whose value goes into the options under its name.
func option[V any](name string, used proxies, k kind[V], standard, meaning string) key[options] {
	return key[options]{
		name: name, takes: k.name, standard: standard, meaning: meaning, example: k.example, proxies: used,
		read: func(in *input, v *node, into *options) {
			if value, ok := k.read(in, v); ok {
				(*into)[name] = value
			}
		},
	}
}

func names[T any](keys []key[T]) []string {
	list := make([]string, len(keys))
	for i := range keys {
		list[i] = keys[i].name
	}
	return list
}
