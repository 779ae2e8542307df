/**
 * A certificate for localhost that signs itself, and its key: for tests only. Made with `openssl req -x509 -newkey ec -nodes
 * -days 36500 -subj /CN=localhost -addext subjectAltName=DNS:localhost`.
 */
export const certificate: string = `-----BEGIN CERTIFICATE-----
MIIBlTCCATugAwIBAgIURkiHkP3+emiut5PIFIo5PUPr2zkwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNDIyNDkwMVoYDzIxMjYxMDMx
MjI0OTAxWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASh6SXAhi3QpyBSMjmGhdoXGrbzf33q5OVarqFFl07GHuRI4OQqLmaN
EKOpVSAoHpTffQ2a5Je4N7doZm29mn7/o2kwZzAdBgNVHQ4EFgQUw3tbVxtcIzVk
uqCdxGn83FilByAwHwYDVR0jBBgwFoAUw3tbVxtcIzVkuqCdxGn83FilByAwDwYD
VR0TAQH/BAUwAwEB/zAUBgNVHREEDTALgglsb2NhbGhvc3QwCgYIKoZIzj0EAwID
SAAwRQIhAPjjQSLaZl0pmZ1B8luaPrkNYIjiG63KKoJyL3gBbjQqAiALv9O2STI6
VmMCWc4lLYhagE6Q8S5bfPVT3H/UVMjfSA==
-----END CERTIFICATE-----`;

export const key: string = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgNmPyy2p+HxnXXzXM
H7oWChhyzjsNVvUHIHjwoNYxmuahRANCAASh6SXAhi3QpyBSMjmGhdoXGrbzf33q
5OVarqFFl07GHuRI4OQqLmaNEKOpVSAoHpTffQ2a5Je4N7doZm29mn7/
-----END PRIVATE KEY-----`;
