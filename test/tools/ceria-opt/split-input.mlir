// RUN: ceria-opt %s --split-input-file --verify-diagnostics

// Two functions of one name are an error in a module, not across the split.
func.func @f() {
  return
}

// -----

func.func @f() {
  // expected-error@+1 {{operation being parsed with an unregistered dialect}}
  "no.such_op"() : () -> ()
  return
}
