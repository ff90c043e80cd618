"""Makes sigv4.json: signatures of KMS requests by botocore, an implementation that has nothing in common with ours.

python make-sigv4.py > sigv4.json       (needs botocore)
"""
import datetime
import json

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

# The example keys of AWS's documentation.
ID, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
CASES = [
    ("plain", "kms.eu-central-1.amazonaws.com", "eu-central-1", None, "{}", "Encrypt", 1767323045),
    ("with a session token", "kms.us-east-1.amazonaws.com", "us-east-1", "IQoJb3JpZ2luX2VjEPT//////////wEa==", '{"KeyId":"x"}', "Decrypt", 1440938160),
    ("a body beyond ASCII", "kms.eu-central-1.amazonaws.com", "eu-central-1", None, '{"Description":"Schlüssel für 鍵 🔑"}', "CreateKey", 1798761599),
    ("an endpoint with a port", "127.0.0.1:4711", "eu-west-3", None, '{"Limit":1000}', "ListKeys", 1709164800),
    ("an endpoint with a port and a token", "[::1]:8443", "cn-north-1", "a/b+c=", '{"a":"\\n"}', "DescribeKey", 951782400),
]


def sign(name, host, region, token, body, operation, time):
    at = datetime.datetime.fromtimestamp(time, datetime.timezone.utc)
    botocore.auth.get_current_datetime = lambda: at.replace(tzinfo=None)
    headers = {"Host": host, "Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "TrentService." + operation}
    request = AWSRequest(method="POST", url=f"https://{host}/", data=body.encode(), headers=dict(headers))
    botocore.auth.SigV4Auth(Credentials(ID, SECRET, token), "kms", region).add_auth(request)
    return {"name": name, "id": ID, "secret": SECRET, "token": token, "region": region, "time": time, "headers": headers,
            "body": body, "date": request.headers["X-Amz-Date"], "authorization": request.headers["Authorization"]}


print(json.dumps([sign(*case) for case in CASES], indent=2, ensure_ascii=False))
