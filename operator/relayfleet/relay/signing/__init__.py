"""DKIM (RFC 6376, RFC 8301, RFC 8463): mail is signed as it leaves. The stored record stays unsigned, so keys may rotate while it waits."""
