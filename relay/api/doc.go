// Package api is the HTTP surface of the relay: the API for backends, the page protocol, the scripts
// and the admin listener, all as the contract says.
//
// Start at [Server.routes], the table of contents. Handlers parse, call and return; every error
// passes [Server.handleError], which turns it into problem+json and a log line.
package api
