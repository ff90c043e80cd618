// p11-kit's PKCS#11 2.40 headers (OASIS naming), its module loader and its RFC 7512 URI parser. No logic here.
#pragma once

#include <p11-kit/pkcs11.h>
#include <p11-kit/p11-kit.h>
#include <p11-kit/uri.h>
