"""What the helpers of these tests assert is shown with its values, like what the tests assert themselves."""

import pytest

pytest.register_assert_rewrite("tests.integration.crash.crashing", "tests.integration.crash.visit")
