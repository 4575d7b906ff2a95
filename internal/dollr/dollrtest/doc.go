// Package dollrtest is a stand-in for the Dollr Open API, as its documentation describes it: the token endpoint, the
// realtime keys and the five status endpoints, with switches for everything that can go wrong.
//
// [New] gives an [http.Handler]. Payments are made and changed with [Server.Put] and [Server.SetStatus]; [Options.OnChange]
// hears of it, so that a stand-in for the realtime side can tell its subscribers. In tests, [Start] serves it.
package dollrtest
